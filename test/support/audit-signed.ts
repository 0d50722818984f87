import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import canonicalize from "canonicalize";
import { GENESIS_HASH, type Position, sealLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { checkpointText, originOf } from "../../src/audit/proof/checkpoint.ts";
import type { SigningKey } from "../../src/audit/proof/keys.ts";
import type { KnownKeys } from "../../src/audit/proof/known-keys.ts";
import { openSigner, type Signer, splitMemory } from "../../src/audit/proof/signer.ts";
import { EMPTY_TREE, grown, leafHash, rootOf, treeFacts } from "../../src/audit/proof/tree.ts";
import type { Json, RecordBody } from "../../src/audit/record.ts";
import { onlyChain, recordsOf, scratch, segments } from "./audit.ts";
import { intent, outcome } from "./audit-bodies.ts";

export interface SignedLog {
  /** With `audit/` and `keys/` in it. */
  readonly data: string;
  readonly directory: string;
  readonly keyFile: string;
  readonly signer: Signer;
  readonly keys: KnownKeys;
}

export async function signedPlace(data = scratch()): Promise<SignedLog> {
  const keyFile = join(data, "keys", "audit.key");
  const signer = await openSigner(keyFile, "test-host");
  return { data, directory: join(data, "audit"), keyFile, signer, keys: [{ verifier: signer.key, gateway: "test" }] };
}

/** A closed log of one chain, signed, of so many calls, in segments of 2,000 bytes. */
export async function makeSignedLog(calls = 6): Promise<SignedLog & { readonly chain: string }> {
  const place = await signedPlace();
  await writeCalls(place, calls);
  return { ...place, chain: onlyChain(place.directory) };
}

export async function writeCalls({ directory, signer }: SignedLog, calls: number, gateway = "gw-test"): Promise<void> {
  await using log = await openAuditLog({ directory, gateway, signer, segmentBytes: 2_000 });
  for (let call = 0; call < calls; call++) {
    await log.append(intent(`call-${gateway}-${call}`));
    await log.append(outcome(`call-${gateway}-${call}`));
  }
}

/** As if the gateways had died behind their last checkpoints. */
export function forgetClose(data: string): void {
  const signed = join(data, "keys", "signed");
  for (const name of readdirSync(signed)) {
    const { note } = splitMemory(readFileSync(join(signed, name), "utf8"));
    writeFileSync(join(signed, name), note.padEnd(512, "\n"));
  }
}

/**
 * What somebody does who can write the directory and knows everything but the key: changes bodies (undefined removes one), and makes every
 * hash, tree and root fit, and the head. Signs with a key of their own, or leaves the signatures.
 */
export function rewriteHistory(
  chainDirectory: string,
  change: (body: RecordBody, seq: number) => RecordBody | undefined,
  forger?: SigningKey,
): void {
  const chain = basename(chainDirectory);
  let position: Position = { seq: -1, hash: GENESIS_HASH };
  let tree = EMPTY_TREE;
  for (const name of segments(chainDirectory)) {
    const lines: string[] = [];
    for (const { body, gateway, time, seq } of recordsOf(chainDirectory, name)) {
      const changed = change(body, seq);
      if (!changed) continue;
      const sealed = sealLine({ chain, gateway, time }, position, canonicalize(fitted(changed)) ?? "");
      position = sealed.position;
      tree = grown(tree, leafHash(Buffer.from(sealed.line.slice(0, -1))));
      lines.push(sealed.line);
    }
    writeFileSync(join(chainDirectory, name), lines.join(""));
  }
  writeFileSync(join(chainDirectory, "head"), `${`{"hash":"${position.hash}","seq":${position.seq}}`.padEnd(255)}\n`);

  function fitted(body: RecordBody): RecordBody {
    if (body.kind !== "event") return body;
    if (body.event === "segment-started") return { ...body, facts: { ...asObject(body.facts), tree: treeFacts(tree) } };
    if (body.event !== "checkpoint" || !forger) return body;
    const origin = originOf(forger.verifier.name, chain);
    const note = forger.sign(checkpointText({ origin, size: tree.size, root: rootOf(tree) }));
    return { ...body, facts: { note, tree: treeFacts(tree) } };
  }
}

function asObject(facts: Json): { readonly [key: string]: Json } {
  return typeof facts === "object" && facts !== null && !Array.isArray(facts) ? (facts as { [key: string]: Json }) : {};
}
