import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { constants } from "node:fs";
import { open, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { syncDirectory } from "../files.ts";
import { ERASING, makeDirectory } from "./places.ts";

/*
 * 32 random bytes, and SHA-256 of a constant and them, by which a key that is damaged, or being overwritten, is told from one.
 */
const KEY_BYTES = 32;
const CHECK_BYTES = 32;

/** Makes a key, which is on disk with its name when this resolves. Its directory is the owner's alone. @throws the file system's error */
export async function makeKey(file: string): Promise<void> {
  const directory = dirname(file);
  await makeDirectory(directory);
  const key = randomBytes(KEY_BYTES);
  {
    await using handle = await open(file, "wx", 0o600);
    await handle.writeFile(Buffer.concat([key, checkOf(key)]));
    await handle.sync();
  }
  key.fill(0);
  await syncDirectory(directory);
}

/**
 * @throws the file system's error, ENOENT also for one that was erased while it was read; GatewayError AUDIT_UNWRITABLE, which says what to do, for
 * one that others can read, or that is none
 */
export async function readKey(file: string): Promise<Buffer> {
  if (((await stat(dirname(file))).mode & 0o077) !== 0)
    throw unusable("others may read or change what is in its directory: run chmod 700 on it");
  await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stats = await handle.stat();
  if (!stats.isFile() || stats.size !== KEY_BYTES + CHECK_BYTES) throw unusable("it is not a key file");
  if ((stats.mode & 0o077) !== 0) throw unusable("others may read or change it: run chmod 600 on it");
  const content = Buffer.alloc(KEY_BYTES + CHECK_BYTES);
  await handle.read(content, 0, content.length, 0);
  const key = content.subarray(0, KEY_BYTES);
  if (timingSafeEqual(content.subarray(KEY_BYTES), checkOf(key))) return key;
  // Gone by now where it was being erased.
  await stat(file);
  throw unusable("it is damaged");
}

/**
 * Overwrites the key and leaves the file, under another name, as a mark that its bodies are to be removed; both are on disk when this resolves. May
 * be done again, and of a key that is not there. @throws the file system's error
 */
export async function overwriteKey(file: string): Promise<void> {
  const mark = `${file}${ERASING}`;
  try {
    await rename(file, mark);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    await using handle = await open(mark, flags, 0o600);
    await handle.write(Buffer.alloc(KEY_BYTES + CHECK_BYTES), 0, KEY_BYTES + CHECK_BYTES, 0);
    await handle.sync();
  }
  await syncDirectory(dirname(file));
}

function checkOf(key: Uint8Array): Buffer {
  return hash("sha256", Buffer.concat([Buffer.from("glovebox body key 1\n"), key]), "buffer");
}

function unusable(why: string): GatewayError {
  const what = "the key of the session's bodies, in `keys/bodies` of the data directory, cannot be used";
  return new GatewayError("AUDIT_UNWRITABLE", `${what}: ${why}`);
}
