import { readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { tryLock } from "../../lib/lock.ts";

/** Templates that are kept in any case; each holds what a booted machine has in memory, about half a gigabyte. */
const KEPT = 4;
/** More are kept while all together take up no more than this part of what the disk has left. */
const FREE_PART = 0.1;
const KEPT_MS = 14 * 24 * 3600 * 1000;
/** Hexadecimal digits of a template's key. */
export const KEY_CHARS = 32;
/** What `st_blocks` counts in, whatever the file system's own blocks are. */
const BLOCK_BYTES = 512;

/**
 * Removes what is old before the template `ownKey` is made in `directory`: those that have not been used for long, or have no room, the
 * least recently used first; and what makers that were killed have left half done. The locks of those who are at work are taken. Copies of a
 * template that is removed go on: they have its files open.
 */
export async function pruneTemplates(directory: string, ownKey: string, freeBytes = free): Promise<void> {
  const names = await readdir(directory);
  const finished = names.filter((it) => !it.startsWith(".") && !it.endsWith(".lock"));
  const found = (await Promise.all(finished.map((name) => look(directory, name)))).flat();
  found.sort((a, b) => b.usedMs - a.usedMs);
  const roomBytes = (await freeBytes(directory)) * FREE_PART;
  let takenBytes = 0;
  const old = found.filter(({ bytes, usedMs }, index) => {
    takenBytes += bytes;
    // One less: another one is about to be made.
    return Date.now() - usedMs > KEPT_MS || (index >= KEPT - 1 && takenBytes > roomBytes);
  });
  const dead = names.filter((it) => it.startsWith(".") && isAbandoned(directory, it.slice(1, 1 + KEY_CHARS), ownKey));
  for (const name of [...old.map((it) => it.name), ...dead])
    await rm(join(directory, name), { recursive: true, force: true });
}

async function free(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

interface Found {
  readonly name: string;
  readonly usedMs: number;
  readonly bytes: number;
}

/** Nothing when another gateway removes it meanwhile. */
async function look(directory: string, name: string): Promise<Found[]> {
  const path = join(directory, name);
  try {
    const [{ mtimeMs }, files] = await Promise.all([stat(path), readdir(path)]);
    const sizes = await Promise.all(files.map(async (it) => (await stat(join(path, it))).blocks * BLOCK_BYTES));
    return [{ name, usedMs: mtimeMs, bytes: sizes.reduce((a, b) => a + b, 0) }];
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isAbandoned(directory: string, key: string, ownKey: string): boolean {
  if (key === ownKey) return true;
  using lock = tryLock(join(directory, `${key}.lock`));
  return lock !== undefined;
}
