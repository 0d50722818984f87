import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/config.ts";
import { ownRegistries } from "../src/packages/sources/registries.ts";
import { benchConfig, openStand, type Stand, withPolicy } from "./gateway.ts";
import { type Row, row } from "./row.ts";

const ROUNDS = 3;

/** A fixed set for each: without what the package managers keep themselves. */
const SETS = {
  pip: "rm -rf p && python3 -m pip install -q --no-cache-dir --no-compile --target p requests==2.31.0 idna==3.7 urllib3==2.2.1 certifi==2024.2.2 charset-normalizer==3.3.2",
  npm: "rm -rf n c && mkdir n && cd n && npm install --silent --cache ../c --prefix . express@4.19.2",
} as const;

/** What an installation takes through the gateway's registries, beside the same with the network to the real ones. */
export async function benchPackages(say: (message: string) => void): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-"));
  try {
    say("packages");
    const rows: Row[] = [];
    for (const [tool, script] of Object.entries(SETS) as [keyof typeof SETS, string][]) {
      const [registry] = await ownRegistries(tool);
      if (!registry) {
        say(`packages: ${tool} is left out, this computer has no registry for it`);
        continue;
      }
      const hosts = [registry.url, ...registry.files].map((it) => `${new URL(it).hostname}`);
      const variable = tool === "npm" ? "NPM_CONFIG_REGISTRY" : "PIP_INDEX_URL";
      const direct: number[] = [];
      const cold: number[] = [];
      const warm: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const network = `egress: {allow: ${JSON.stringify([...new Set(hosts)])}}\n`;
        await using granted = await standWith(join(root, `${tool}-direct-${round}`), network);
        direct.push(await timed(granted, script, { [variable]: registry.url }));
        // A gateway of its own has a cache of its own, with nothing in it.
        await using own = await standWith(join(root, `${tool}-own-${round}`), `packages: {allow: ["${tool}:*"]}\n`);
        cold.push(await timed(own, script, {}));
        warm.push(await timed(own, script, {}));
      }
      const baseline = "the same with the network to the registry itself";
      rows.push(
        row(`${tool}: a fixed set, nothing in the cache`, cold, "ms", baseline, direct),
        row(`${tool}: a fixed set, out of the cache`, warm, "ms", baseline, direct),
      );
    }
    return rows;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function timed(stand: Stand, script: string, env: Readonly<Record<string, string>>): Promise<number> {
  await stand.call("exec", { argv: ["python3", "-c", "pass"] });
  const startedMs = performance.now();
  const result = await stand.call("shell", { script, env, timeoutMs: 280_000, yieldMs: 280_000 });
  if ((result as { exitCode?: number }).exitCode !== 0) throw new Error(JSON.stringify(result));
  return performance.now() - startedMs;
}

async function standWith(root: string, profile: string): Promise<Stand> {
  const config = await benchConfig(join(root, "gateway"), 0);
  const policyDirectory = join(root, "policy");
  cpSync(join(PACKAGE_ROOT, "policies", "default"), policyDirectory, { recursive: true });
  writeFileSync(join(policyDirectory, "profile.yaml"), profile);
  return await openStand(withPolicy(config, policyDirectory));
}
