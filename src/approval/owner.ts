import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { userName } from "../lib/user.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 5_000;

/** The name of the user with this number, wherever the system keeps users; `uid-1000` when it knows none. */
export async function nameOfUid(uid: number): Promise<string> {
  if (uid === process.getuid?.()) return userName();
  try {
    // Node knows its own user only, and /etc/passwd has not those of a directory service (POSIX `id`).
    const { stdout } = await run("id", ["-un", String(uid)], { timeout: TIMEOUT_MS });
    return /^[^\s:]+$/.exec(stdout.trim())?.[0] ?? `uid-${uid}`;
  } catch (error) {
    if (error instanceof Error) return `uid-${uid}`;
    throw error;
  }
}
