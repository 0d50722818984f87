import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { GatewayError } from "../../errors.ts";
import type { Integrity } from "../registry.ts";
import type { CachedDocument, CachedFile } from "./cache.ts";
import { dirHash } from "./dir-hash.ts";
import { decodeDocument } from "./document.ts";
import { bytesOf, readChecked } from "./file-bytes.ts";

const MAX_DOCUMENT_BYTES = 256 * 1024 ** 2;
const WRITABLE_BY_OTHERS = 0o022;

interface Found {
  readonly file: FileHandle;
  readonly sizeBytes: number;
}

/** What lies at `path`, checked through the handle by which it is read; what is not `key`'s content is removed. */
export async function openChecked(path: string, key: Integrity, signal: AbortSignal): Promise<CachedFile | undefined> {
  const found = await openOwn(path);
  if (!found) return undefined;
  const { file, sizeBytes } = found;
  try {
    const sha256 = await checkedSha256(found, key, signal);
    if (sha256 !== undefined) {
      await markUsed(file);
      return { sizeBytes, sha256, read: () => readChecked(file, sizeBytes, sha256), close: () => file.close() };
    }
    await remove(path);
  } catch {
    // A disk that can't be read, unless it is the caller who has had enough.
    await file.close();
    signal.throwIfAborted();
    return undefined;
  }
  await file.close();
  return undefined;
}

/** The document that lies at `path`; one that is damaged, or another key's, is removed. */
export async function readDocument(path: string, key: string): Promise<CachedDocument | undefined> {
  const found = await openOwn(path);
  if (!found) return undefined;
  await using file = found.file;
  const bytes = found.sizeBytes <= MAX_DOCUMENT_BYTES ? await file.readFile().catch(() => undefined) : undefined;
  const document = bytes && decodeDocument(key, bytes);
  await (document ? markUsed(file) : remove(path));
  return document;
}

/** A regular file that this user, and nobody else, has written. What can't be opened counts as not there. */
async function openOwn(path: string): Promise<Found | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  const stats = await file.stat();
  const own = stats.isFile() && stats.uid === process.getuid?.() && (stats.mode & WRITABLE_BY_OTHERS) === 0;
  if (own) return { file, sizeBytes: stats.size };
  await file.close();
  return undefined;
}

/** Of the whole file, when it is what `key` says. */
async function checkedSha256(
  { file, sizeBytes }: Found,
  key: Integrity,
  signal: AbortSignal,
): Promise<string | undefined> {
  const sha256 = createHash("sha256");
  const promised = key.algorithm === "h1" ? undefined : createHash(key.algorithm);
  for await (const piece of bytesOf(file, 0, sizeBytes)) {
    signal.throwIfAborted();
    sha256.update(piece);
    promised?.update(piece);
  }
  const found = promised ? promised.digest("hex") : await dirHashOf(file, signal);
  return found === key.hex ? sha256.digest("hex") : undefined;
}

async function dirHashOf(file: FileHandle, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await dirHash(file, signal);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** Impossible on a file system that is read-only: there it stays as old as it is. */
async function markUsed(file: FileHandle): Promise<void> {
  const now = new Date();
  await file.utimes(now, now).catch(() => undefined);
}

/** Somebody may have put a good one there just now: that one is fetched again. */
async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}
