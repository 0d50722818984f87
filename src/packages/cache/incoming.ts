import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { type Lock, tryLock } from "../../lib/lock.ts";

/**
 * Files on their way into the cache: in a folder of each writer's own, which it locks for its life. One whose lock is free belongs to
 * a writer that died.
 *
 *     <directory>/incoming/<writer>/lock
 *     <directory>/incoming/<writer>/<number>
 */
export interface Incoming extends AsyncDisposable {
  /** A new, empty file. @throws what the file system does; GatewayError DISK_FULL when the rest of the disk is others' */
  draft(): Promise<Draft>;
}

export interface Draft {
  /** @throws what the file system does; GatewayError DISK_FULL as `draft`, and when more is on its way at once than may be */
  write(bytes: Uint8Array): Promise<void>;
  /** Moves what was written, once it is on the disk, to its place, over what is there. @throws what the file system does */
  place(path: string): Promise<void>;
  /** Removes it, unless it has been placed. */
  discard(): Promise<void>;
}

/** A folder that is just being made is not locked for a moment. */
const UNBORN_GRACE_MS = 60_000;
/** What the cache leaves free for all else that the host writes, or a twentieth of a small disk. */
const RESERVE_BYTES = 2 * 1024 ** 3;
/** How often a draft looks how much is free. */
const LOOK_AGAIN_BYTES = 16 * 1024 ** 2;

/** @param maxBytes of what this writer has on its way at once. @throws what the file system does */
export async function openIncoming(directory: string, maxBytes: number): Promise<Incoming> {
  const root = join(directory, "incoming");
  await mkdir(root, { recursive: true, mode: 0o700 });
  await removeLeftovers(root);
  const name = randomUUID();
  const unborn = join(root, `.${name}`);
  const home = join(root, name);
  await mkdir(unborn, { mode: 0o700 });
  const lock = tryLock(join(unborn, "lock"));
  if (!lock) throw new GatewayError("STATE_UNWRITABLE", `\`${unborn}\` is locked by another gateway`);
  await rename(unborn, home);
  const way: Way = { leftBytes: maxBytes };
  let number = 0;
  return {
    draft: async () => {
      await leaveReserve(home);
      return openDraft(join(home, String(number++)), way);
    },
    [Symbol.asyncDispose]: async () => {
      await rm(home, { recursive: true, force: true });
      lock[Symbol.dispose]();
    },
  };
}

interface Way {
  leftBytes: number;
}

async function openDraft(path: string, way: Way): Promise<Draft> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600);
  let bytes = 0;
  let over = false;
  const finish = async () => {
    over = true;
    way.leftBytes += bytes;
    bytes = 0;
    await file.close();
  };
  return {
    write: async (piece) => {
      if (piece.length > way.leftBytes)
        throw new GatewayError("DISK_FULL", "too much is on its way into the package cache");
      way.leftBytes -= piece.length;
      bytes += piece.length;
      if (bytes % LOOK_AGAIN_BYTES < piece.length) await leaveReserve(dirname(path));
      await file.writeFile(piece);
    },
    place: async (to) => {
      await file.datasync();
      await mkdir(dirname(to), { recursive: true, mode: 0o700 });
      await rename(path, to);
      await finish();
    },
    discard: async () => {
      if (over) return;
      await finish();
      await rm(path, { force: true });
    },
  };
}

async function leaveReserve(directory: string): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(directory);
  if (bavail * bsize >= Math.min(RESERVE_BYTES, (blocks * bsize) / 20)) return;
  throw new GatewayError("DISK_FULL", "the disk of the package cache is nearly full");
}

/** What can't be removed now, because somebody else is just removing it, is so at the next start. */
async function removeLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    const home = join(root, name);
    const young = async () => Date.now() - (await stat(home)).mtimeMs < UNBORN_GRACE_MS;
    if (name.startsWith(".") && (await young().catch(() => true))) continue;
    using lock = lockOf(home);
    if (lock) await rm(home, { recursive: true, force: true }).catch(() => undefined);
  }
}

function lockOf(home: string): Lock | undefined {
  try {
    return tryLock(join(home, "lock"));
  } catch {
    return undefined;
  }
}
