import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readAuthorities } from "../../src/egress/authorities.ts";
import { type Workbench, workbench } from "../support/capability-context.ts";
import { attachEgress, script, type TestEgress } from "../support/egress.ts";
import { candidate, fakePackages } from "../support/fake-packages.ts";
import { openTestSandbox } from "../support/machine.ts";
import { findRegistry, type Registry } from "../support/registries.ts";
import type { TestSandbox } from "./container-suite.ts";

/**
 * `installPackage` with the sandbox's own package managers, straight to the registries that this computer uses: what is shown is that
 * they do what they are told. What stands between is shown elsewhere.
 */
const [npm, pip, apt] = await Promise.all([findRegistry("npm"), findRegistry("pip"), findRegistry("apt")]);

let sandbox: TestSandbox;
let network: TestEgress;
let bench: Workbench;

const VERSIONS: Record<string, string> = { six: "1.17.0", "is-odd": "3.0.1", sl: "5.02-1" };

beforeAll(async () => {
  sandbox = await openTestSandbox();
  const { all, extra } = await readAuthorities([]);
  const known = { all: all.join(""), extra: extra.join("") };
  await sandbox.machine.trust({ known, own: "" }, AbortSignal.timeout(9_000));
  const hosts = [npm, pip, apt].flatMap((it) => it?.hosts ?? []);
  network = await attachEgress(sandbox.machine, { profile: `egress: {allow: ${JSON.stringify(hosts)}}\n` });
  const packages = fakePackages((name, version) => [candidate(name, version ?? VERSIONS[name] ?? "0.0.0")], apt?.url);
  const environment = {
    ...(pip && { PIP_INDEX_URL: pip.url }),
    ...(npm && { npm_config_registry: npm.url }),
  };
  bench = workbench({ container: sandbox.container, packages, environment });
}, 240_000);
afterAll(async () => {
  await bench?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
  await sandbox?.[Symbol.asyncDispose]();
});

async function install(ecosystem: string, name: string, more: object = {}) {
  return await bench.call("installPackage", { ecosystem, packages: [{ name }], ...more });
}

async function output(source: string): Promise<string> {
  const { stdout, stderr } = await script(sandbox, source);
  return stdout.trim() || stderr;
}

describe("in a real sandbox", () => {
  registryTest("pip installs into the project's own environment", pip, async () => {
    expect((await install("pip", "six")).result).toMatchObject({ installed: true });
    expect(await output(".venv/bin/python -c 'import six; print(six.__version__)'")).toBe("1.17.0");
    const failed = await install("pip", "six", { packages: [{ name: "six", version: "0.0.1" }] });
    expect(failed.result).toMatchObject({ installed: false, exitCode: 1, endedBy: "exit" });
    expect(failed.result.output).toContain("six==0.0.1");
  });

  registryTest("npm installs into the project, and for the user", npm, async () => {
    await script(sandbox, "mkdir app");
    expect((await install("npm", "is-odd", { directory: "app" })).result).toMatchObject({ installed: true });
    expect(await output("jq -c .dependencies app/package.json")).toBe('{"is-odd":"3.0.1"}');
    expect(await output("cd app && node -p 'require(\"is-odd\")(3)'")).toBe("true");
    expect((await install("npm", "is-odd", { global: true })).result).toMatchObject({ installed: true });
    expect(await output("ls -d /home/agent/.local/lib/node_modules/is-odd")).toContain("is-odd");
  });

  registryTest("apt downloads, checks and unpacks what the image lacks, without root", apt, async () => {
    await script(sandbox, "mkdir 'a b'");
    const { result } = await install("apt", "sqlite3", { directory: "a b" });
    expect(result).toMatchObject({ installed: true, hint: expect.stringContaining("/workspace/a b/.apt/root") });
    const run = `cd 'a b/.apt/root' && LD_LIBRARY_PATH=$(echo usr/lib/*-linux-gnu) usr/bin/sqlite3 :memory: 'select 6*7'`;
    expect(await output(run)).toBe("42");
  });

  test("a package manager that the image lacks is named", async () => {
    await script(sandbox, "touch go.mod");
    await expect(install("go", "a.b/c")).rejects.toThrow("the sandbox's image has no `go`");
  });
});

function registryTest(name: string, registry: Registry | undefined, check: () => Promise<void>): void {
  if (registry) test(name, check, 300_000);
  else test(name, (context) => context.skip("no registry of this tool answers on this computer"));
}
