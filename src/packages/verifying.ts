import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import { GatewayError } from "../errors.ts";
import type { Integrity } from "./registry.ts";

/** Kept back until all was seen: a program that gets less than it was promised has nothing. With this much a small file is refused in words. */
const HELD_BYTES = 65_536;

export interface Checked {
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Passes a file on and keeps its end back until its digests are those that were promised, and `admit` has resolved. Otherwise it fails,
 * and whoever reads has less than the file. `h1` is checked elsewhere: it is not over bytes.
 */
export function verifying(
  integrity: readonly Integrity[],
  sizeBytes: number | undefined,
  admit: (checked: Checked) => Promise<void>,
): Transform {
  const promised = integrity.filter((it) => it.algorithm !== "h1");
  const hashes = promised.map(({ algorithm, hex }) => ({ hash: createHash(algorithm), algorithm, hex }));
  const sha256 = createHash("sha256");
  let held = Buffer.alloc(0);
  // Put together when there is much of it: an upstream may send byte by byte.
  let fresh: Buffer[] = [];
  let freshBytes = 0;
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      sha256.update(chunk);
      for (const { hash } of hashes) hash.update(chunk);
      fresh.push(chunk);
      freshBytes += chunk.length;
      if (freshBytes < HELD_BYTES) {
        done();
        return;
      }
      const all = Buffer.concat([held, ...fresh]);
      [fresh, freshBytes] = [[], 0];
      held = all.subarray(all.length - HELD_BYTES);
      done(null, all.subarray(0, all.length - HELD_BYTES));
    },
    flush(done) {
      const wrong = hashes.find(({ hash, hex }) => hash.digest("hex") !== hex);
      const problem = wrong
        ? `its ${wrong.algorithm} is not the one that its registry promises`
        : sizeBytes !== undefined && sizeBytes !== bytes
          ? `it has ${bytes} bytes and not ${sizeBytes}`
          : undefined;
      if (problem !== undefined) {
        done(new Tampered(problem));
        return;
      }
      admit({ sha256: sha256.digest("hex"), bytes }).then(
        () => done(null, Buffer.concat([held, ...fresh])),
        (error: Error) => done(error),
      );
    },
  });
}

/** A file that is not what its registry promises. */
export class Tampered extends GatewayError {
  constructor(problem: string) {
    super("REGISTRY_FAILED", problem);
  }
}
