import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/config.ts";
import { benchConfig, openStand, several, withPolicy } from "./gateway.ts";
import { type Row, row } from "./row.ts";

const FILES = 10_000;
const FILE_BYTES = 1_000;
const ROUNDS = 3;

/** Many small files in and out of a sandbox, beside a plain copy on the host and one inside the sandbox. */
export async function benchMounts(say: (message: string) => void): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-"));
  try {
    say("10 000 files in and out");
    const host = join(root, "host");
    for (let index = 0; index < FILES; index += 1) {
      const directory = join(host, "tree", `d${index % 100}`);
      if (index < 100) mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, `f${index}`), "x".repeat(FILE_BYTES));
    }
    const policyDirectory = join(root, "policy");
    cpSync(join(PACKAGE_ROOT, "policies", "default"), policyDirectory, { recursive: true });
    writeFileSync(join(policyDirectory, "profile.yaml"), `mounts: [{ name: bench, host: ${host}, mode: rw }]\n`);
    await using stand = await openStand(withPolicy(await benchConfig(join(root, "gateway"), 0), policyDirectory));
    const { sessionId } = (await stand.call("openSession", {})) as { sessionId: string };
    const call = (name: string, args: object) => stand.call(name, { ...args, sessionId });
    let round = 0;
    const imported = await several(ROUNDS, async () => {
      round += 1;
      await call("importFiles", { mount: "bench", path: "tree", to: `in${round}` });
    });
    const inside = await several(1, () => call("exec", { argv: ["cp", "-r", "in1", "copy"] }));
    const exported = await several(ROUNDS, async () => {
      round += 1;
      await call("exportFiles", { path: "in1", mount: "bench", to: `out${round}` });
    });
    const onHost = await several(ROUNDS, async () => {
      round += 1;
      execFileSync("cp", ["-r", join(host, "tree"), join(host, `copy${round}`)]);
    });
    return [
      row("importFiles, 10 000 of 1 KB", imported, "ms", "cp -r inside the sandbox", inside),
      row("importFiles, 10 000 of 1 KB", imported, "ms", "cp -r on the host", onHost),
      row("exportFiles, 10 000 of 1 KB", exported, "ms", "cp -r inside the sandbox", inside),
      row("exportFiles, 10 000 of 1 KB", exported, "ms", "cp -r on the host", onHost),
    ];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
