import { join } from "node:path";
import { vi } from "vitest";
import { auditCommand } from "../../src/cli/audit.ts";

/** The command in this process: each start of the program costs seconds on a busy machine. */
export async function audit(...args: string[]) {
  const ended = { status: 0, stdout: "", stderr: "" };
  const places = (dataDir = "") => ({ audit: join(dataDir, "audit"), key: join(dataDir, "keys", "audit.key") });
  const command = auditCommand({
    version: "0.0.0",
    directory: (dataDir) => places(dataDir).audit,
    keyFile: (dataDir) => places(dataDir).key,
    indexFile: (dataDir = "") => join(dataDir, "index.sqlite"),
    dataDirectory: (dataDir = "") => dataDir,
    sinks: async () => [],
    ports: () => ({
      authorities: async () => [],
      secret: () => async () => "",
      hide: (text) => text,
      version: "0.0.0",
    }),
  });
  const collect = (name: "stdout" | "stderr") =>
    vi.spyOn(process[name], "write").mockImplementation((chunk) => {
      ended[name] += String(chunk);
      return true;
    });
  const spies = [collect("stdout"), collect("stderr")];
  try {
    await command.parseAsync(args, { from: "user" });
    ended.status = Number(process.exitCode ?? 0);
  } catch (error) {
    ended.status = 1;
    ended.stderr += error instanceof Error ? error.message : "";
  } finally {
    process.exitCode = undefined;
    for (const spy of spies) spy.mockRestore();
  }
  return ended;
}
