import { type ExecFileOptions, execFile } from "node:child_process";
import { promisify } from "node:util";

/** Such tools take a second to begin, and on a busy computer ten. */
const TIMEOUT_MS = 30_000;

/** What one of this computer's own tools prints. @throws Error, with `stderr`, when it is not there, fails, or takes longer than 30 s */
export async function askTool(
  program: string,
  args: readonly string[],
  options: Pick<ExecFileOptions, "cwd" | "env"> = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return await promisify(execFile)(program, args, {
    ...options,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 1_048_576,
  });
}
