import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Lock, tryLock } from "../lib/lock.ts";

export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

const POLL_MS = 500;

/** The right to change the store. Whoever comes second waits, and says so once. */
export async function lockStore(directory: string, { signal, progress }: WaitOptions): Promise<Lock> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const path = join(directory, "build.lock");
  for (let told = false; ; told = true) {
    const lock = tryLock(path);
    if (lock) return lock;
    if (!told) progress("another build is at work in this store: waiting for it");
    await sleep(POLL_MS, undefined, { signal });
  }
}
