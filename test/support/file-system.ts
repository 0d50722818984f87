import { execFileSync } from "node:child_process";
import { onTestFinished } from "vitest";

/** Mounts a file system in memory at `directory`, until the test is over. Root only. */
export function mountTmpfs(directory: string, options: string): string {
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "glovebox-test", directory]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", directory]));
  return directory;
}
