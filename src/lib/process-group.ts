import { codeOf } from "./error.ts";

/** Signals a process that was started in a group of its own, and whatever it has started; nothing when they are gone. */
export function endGroup(pid: number | undefined, signal: NodeJS.Signals = "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // Gone by itself; on macOS a group of nothing but zombies is EPERM.
    if (!["ESRCH", "EPERM"].includes(codeOf(error) ?? "")) throw error;
  }
}
