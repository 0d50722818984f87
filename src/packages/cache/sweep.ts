import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";

/**
 * Keeps what lies below a directory within a size: the least recently used files go, in the background. Any number of processes may
 * do so at once, beside others that read and write: who has a file open keeps it, and the oldest files are the same for all.
 */
export interface Sweeper extends AsyncDisposable {
  /** Whether a file of this size may be put there now; not while more is written than goes. */
  admit(bytes: number): boolean;
}

export interface SweeperOptions {
  /** Each holds shards, which hold files. */
  readonly directories: readonly string[];
  /** Files together, each counted with what the file system needs for it. */
  readonly maxBytes: number;
  readonly onError: (error: unknown) => void;
}

interface File {
  readonly path: string;
  readonly bytes: number;
  readonly usedMs: number;
}

/** A file system's block, and the file's own entry. */
const FILE_BYTES = 4_096;
/** When it sweeps it makes room for an eighth; it looks again after a sixteenth, because others write too. */
const ROOM = 1 / 8;
const LOOK_AGAIN = 1 / 16;
/** A file that was used later than now was used before the clock was put back. */
const CLOCK_TOLERANCE_MS = 60_000;

export function startSweeper({ directories, maxBytes, onError }: SweeperOptions): Sweeper {
  const ended = new AbortController();
  const share = maxBytes * LOOK_AGAIN;
  let budget = 0;
  // What the sweep that runs has not seen.
  let sinceScan = 0;
  let running: Promise<void> | undefined;
  const sweepWhileDue = async () => {
    while (budget <= 0 && !ended.signal.aborted) {
      sinceScan = 0;
      await sweep(directories, maxBytes, ended.signal);
      budget = share - sinceScan;
    }
  };
  const start = () => {
    running ??= sweepWhileDue()
      .catch((error: unknown) => {
        if (!ended.signal.aborted) onError(error);
      })
      .finally(() => {
        running = undefined;
      });
  };
  start();
  return {
    admit: (bytes) => {
      const admitted = budget > -share;
      if (admitted) {
        budget -= bytes + FILE_BYTES;
        sinceScan += bytes + FILE_BYTES;
      }
      if (budget <= 0) start();
      return admitted;
    },
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await running;
    },
  };
}

async function sweep(directories: readonly string[], maxBytes: number, signal: AbortSignal): Promise<void> {
  const files: File[] = [];
  for (const directory of directories)
    for (const shard of await namesIn(directory)) {
      signal.throwIfAborted();
      const names = await namesIn(join(directory, shard));
      const found = await Promise.all(names.map((name) => look(join(directory, shard, name))));
      files.push(...found.filter((it) => it !== undefined));
    }
  let total = files.reduce((sum, it) => sum + it.bytes, 0);
  if (total <= maxBytes * (1 - LOOK_AGAIN)) return;
  for (const { path, bytes } of files.sort((a, b) => a.usedMs - b.usedMs)) {
    signal.throwIfAborted();
    if (total <= maxBytes * (1 - ROOM)) return;
    await rm(path, { force: true });
    total -= bytes;
  }
}

async function look(path: string): Promise<File | undefined> {
  try {
    const stats = await lstat(path);
    if (!stats.isFile()) return undefined;
    const { size, mtimeMs } = stats;
    const fromTheFuture = mtimeMs > Date.now() + CLOCK_TOLERANCE_MS;
    return { path, bytes: size + FILE_BYTES, usedMs: fromTheFuture ? 0 : mtimeMs };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
