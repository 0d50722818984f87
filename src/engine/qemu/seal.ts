import { spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { abortable } from "../../lib/deadline.ts";

/** The descriptor under which the program has it (`guest/seal/seal.c`). */
const SEALED_FD = 3;

/**
 * The contents of a file, in memory that nobody can change: a memfd sealed against writing. It lives as long as the answered
 * handle, or a mapping of it.
 */
export async function sealFile(program: string, path: string, signal: AbortSignal): Promise<FileHandle> {
  signal.throwIfAborted();
  const child = spawn(program, [path], { stdio: ["pipe", "pipe", "pipe"], env: {} });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-500);
  });
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("close", () => reject(new Error(`memory was not sealed: ${complaint.trim()}`)));
  });
  // Also when nobody waits for it any more.
  failed.catch(() => undefined);
  try {
    await abortable(Promise.race([once(child.stdout, "data"), failed]), signal);
    // Another descriptor of the same memory: the program's own goes with it.
    return await open(`/proc/${child.pid}/fd/${SEALED_FD}`);
  } finally {
    child.kill("SIGKILL");
    child.stdin.destroy();
  }
}
