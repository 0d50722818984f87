import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Integrity } from "../registry.ts";
import type { PackageCache } from "./cache.ts";
import { keepingOf, startCopy, type Writing } from "./copy.ts";
import { encodeDocument } from "./document.ts";
import { openIncoming } from "./incoming.ts";
import { openChecked, readDocument } from "./read.ts";
import { startSweeper } from "./sweep.ts";

export interface DiskCacheOptions {
  /** Made, for this user alone, when it is not there. */
  readonly directory: string;
  /** Of what is kept. Each process that writes may go an eighth and a file above it, and have half of it on its way. */
  readonly maxBytes: number;
  readonly log: Logger;
}

/** In hexadecimal digits. */
const LENGTHS = { sha512: 128, sha384: 96, sha256: 64, sha1: 40, h1: 64 } as const;
const DOCUMENTS = "documents";

/**
 * The cache as files of this user's own. Several processes may use one directory at a time, and be killed at any point.
 *
 *     <directory>/<algorithm>/<aa>/<hex>   a file, by the digest that its registry promises; `aa` is how its hex begins
 *     <directory>/documents/<aa>/<hex>     a document, by the SHA-256 of its key
 *     <directory>/incoming/                what is not whole yet
 *
 * A file's time of modification is when it was used last. A directory that can't be written is a cache that keeps nothing; the log
 * says so once.
 */
export async function openPackageCache(options: DiskCacheOptions): Promise<PackageCache & AsyncDisposable> {
  const { directory, maxBytes, log } = options;
  let complained = false;
  const complain = (error: unknown): undefined => {
    if (!complained)
      log.warn({ err: error, directory }, "the package cache can't be written: packages are fetched anew");
    complained = true;
  };
  const place = (kind: string, hex: string) => join(directory, kind, hex.slice(0, 2), hex);
  const documentPlace = (key: string) => place(DOCUMENTS, createHash("sha256").update(key).digest("hex"));
  const writing = await openWriting(directory, maxBytes, complain).catch(complain);
  return {
    open: async (key, signal) => openChecked(place(key.algorithm, readHex(key)), key, signal),
    keep: async (key) => {
      const copy = await startCopy(place(key.algorithm, readHex(key)), writing, complain);
      return keepingOf(copy);
    },
    document: (key) => readDocument(documentPlace(key), key),
    putDocument: async (key, document) => {
      await using copy = await startCopy(documentPlace(key), writing, complain);
      for (const piece of encodeDocument(key, document)) await copy.write(piece);
      await copy.place();
    },
    [Symbol.asyncDispose]: async () => writing?.owned.disposeAsync(),
  };
}

async function openWriting(
  directory: string,
  maxBytes: number,
  onError: (error: unknown) => undefined,
): Promise<Writing & { owned: AsyncDisposableStack }> {
  await makePrivate(directory);
  await using owned = new AsyncDisposableStack();
  const incoming = owned.use(await openIncoming(directory, maxBytes / 2));
  const directories = [...Object.keys(LENGTHS), DOCUMENTS].map((it) => join(directory, it));
  const sweeper = owned.use(startSweeper({ directories, maxBytes, onError }));
  return { incoming, sweeper, owned: owned.move() };
}

/** @throws what the file system does; GatewayError STATE_UNWRITABLE when it is somebody else's */
async function makePrivate(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await using handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const { uid, mode } = await handle.stat();
  if (uid !== process.getuid?.()) throw new GatewayError("STATE_UNWRITABLE", `\`${directory}\` is another user's`);
  if ((mode & 0o077) !== 0) await handle.chmod(0o700);
}

/** A digest is a file's name here. @throws GatewayError INTERNAL for what is none */
function readHex({ algorithm, hex }: Integrity): string {
  if (hex.length !== LENGTHS[algorithm] || !/^[0-9a-f]+$/.test(hex))
    throw new GatewayError("INTERNAL", `a ${algorithm} digest is not in its one spelling`);
  return hex;
}
