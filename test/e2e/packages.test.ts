import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  auditRecords,
  connect,
  ENTRY,
  policyWith,
  shippedPolicy,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";
import { openNpmRegistry, type TestRegistry } from "../support/npm-registry.ts";
import { findRegistry, type Registry } from "../support/registries.ts";

/** The whole way: a client, the gateway and its registries, a sandbox with real package managers, and the registries of this computer. */
const [npm, pip, apt] = await Promise.all([findRegistry("npm"), findRegistry("pip"), findRegistry("apt")]);

let data: TestData;
let registry: TestRegistry;
/** Packages from where this computer gets its own. */
let real: TestClient;
/** npm's from a registry of the test's own. */
let staged: TestClient;

const RESOURCES = "resources: {memoryMiB: 1536}\n";

beforeAll(async () => {
  data = testData();
  registry = await openNpmRegistry();
  await registry.publish(
    "sound",
    { version: "1.0.0", files: { "index.js": "module.exports = 'sound'" } },
    {
      version: "2.0.0",
      ageHours: 3,
      files: { "index.js": "module.exports = 'too young'" },
    },
  );
  await registry.publish("needs-sound", { version: "1.0.0", manifest: { dependencies: { sound: ">=1" } } });
  await registry.publish("bent", {
    version: "1.0.0",
    serve: (_, response, tarball) => void response.end(tarball.map((it, at) => (at === 20 ? it ^ 1 : it))),
  });
  real = await connect(data, [
    "--policy",
    policyWith(data, `${RESOURCES}packages:\n  allow: ["npm:*", "pip:*", "apt:*"]\n  minimumAgeHours: {apt: 0}\n`),
  ]);
  const other = testDirectory(`${RESOURCES}egress:
  hosts: {registry.test: 127.0.0.1}
  private: [registry.test]
packages:
  allow: ["npm:*"]
  registries: {npm: [{url: "${registry.url}"}]}
`);
  staged = await connect(data, ["--policy", other, "--spares", "0"]);
  await real.call("exec", { argv: ["true"] }, { timeoutMs: 170_000 });
  await staged.call("exec", { argv: ["true"] }, { timeoutMs: 170_000 });
});
afterAll(async () => {
  await real?.[Symbol.asyncDispose]();
  await staged?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

function testDirectory(profile: string): string {
  const directory = mkdtempSync(join(data.directory, "policy-"));
  cpSync(shippedPolicy("default"), directory, { recursive: true });
  writeFileSync(join(directory, "profile.yaml"), profile);
  return directory;
}

const LONG = { timeoutMs: 290_000 };
const install = (client: TestClient, ecosystem: string, packages: readonly object[], more = {}) =>
  client.call("installPackage", { ecosystem, packages, ...more }, LONG);
const shell = (client: TestClient, script: string) =>
  client.call("shell", { script, timeoutMs: 280_000, yieldMs: 280_000 }, LONG);

function registryTest(name: string, registry: Registry | undefined, check: () => Promise<void>): void {
  if (registry) test(name, check, 300_000);
  else test(name, (context) => context.skip("no registry of this tool answers on this computer"));
}

registryTest(
  "npm: a package with a scope and one with dependencies, by the tool and by hand, used by a program",
  npm,
  async () => {
    const installed = await install(real, "npm", [{ name: "is-odd", version: "3.0.1" }, { name: "@sindresorhus/is" }]);
    expect(installed.result, installed.text).toMatchObject({ installed: true });
    expect(installed.result).toMatchObject({ installed: true, refusals: [] });
    const { packages } = installed.result as { packages: Record<string, unknown>[] };
    expect(packages.find((it) => it["purl"] === "pkg:npm/is-odd@3.0.1")).toMatchObject({
      requested: true,
      integrity: expect.stringMatching(/^sha512-/),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      ageHours: expect.any(Number),
    });
    expect(packages.map((it) => it["purl"])).toContainEqual(expect.stringContaining("pkg:npm/%40sindresorhus/is@"));
    expect(packages.find((it) => String(it["purl"]).startsWith("pkg:npm/is-number@"))).toMatchObject({
      requested: false,
    });
    const byHand = await shell(
      real,
      'npm install --loglevel error left-pad@1.3.0 >/dev/null && node -e \'console.log(require("is-odd")(3), require("left-pad")("x", 3))\'',
    );
    expect(byHand.result).toMatchObject({ stdout: "true   x\n", exitCode: 0 });
  },
);

registryTest(
  "pip: a pure package and one with a wheel of machine code, by the tool and by hand, used by a program",
  pip,
  async () => {
    const installed = await install(real, "pip", [{ name: "six", version: "1.16.0" }, { name: "PyYAML" }]);
    expect(installed.result, installed.text).toMatchObject({ installed: true });
    const purls = (installed.result.packages as { purl: string }[]).map((it) => it.purl);
    expect(purls).toEqual(expect.arrayContaining(["pkg:pypi/six@1.16.0", expect.stringMatching(/^pkg:pypi\/pyyaml@/)]));
    const used = await shell(
      real,
      ".venv/bin/pip install -q idna==3.7 && .venv/bin/python -c 'import six, yaml, idna; print(six.__version__, yaml.safe_load(\"a: 1\"), idna.__version__)'",
    );
    expect(used.result).toMatchObject({ stdout: "1.16.0 {'a': 1} 3.7\n", exitCode: 0 });
  },
);

registryTest("apt: a program, by the tool, without root", apt, async () => {
  const installed = await install(real, "apt", [{ name: "sl" }]);
  expect(installed.result, installed.text).toMatchObject({ installed: true });
  expect(installed.result.packages).toContainEqual(
    expect.objectContaining({ purl: expect.stringMatching(/^pkg:deb\/debian\/sl@/) }),
  );
  const ran = await shell(
    real,
    "LD_LIBRARY_PATH=$(echo .apt/root/usr/lib/*-linux-gnu) ldd .apt/root/usr/games/sl | grep -c 'not found'; apt-get install sl 2>&1 | tail -1",
  );
  expect(ran.result.stdout.split("\n")[0]).toBe("0");
});

test("what has entered is told of in sessionStatus, and is a bill of materials from the audit log", async (context) => {
  if (!npm) context.skip("no registry of npm answers on this computer");
  const status = await real.call("sessionStatus");
  expect(status.result.network.packages).toContain("pkg:npm/is-odd@3.0.1");
  const sbom = JSON.parse(
    execFileSync(process.execPath, [ENTRY, "audit", "sbom", "--data-dir", data.directory], { encoding: "utf8" }),
  );
  expect(sbom).toMatchObject({ bomFormat: "CycloneDX" });
  expect(sbom.components.map((it: { purl: string }) => it.purl)).toEqual(
    expect.arrayContaining(status.result.network.packages as string[]),
  );
});

test("a version that policy forbids is neither resolved to nor had by a lockfile, by the tool nor by hand [G24]", async () => {
  const refused = await install(staged, "npm", [{ name: "sound", version: "2.0.0" }]);
  expect(refused.result).toMatchObject({ installed: false });
  expect(refused.text).toContain("published less than 72 hours ago, or nobody knows when; 1.0.0 would do");
  expect(refused.text).toContain("packages.minimumAgeHours");
  const resolved = await install(staged, "npm", [{ name: "needs-sound" }]);
  expect(resolved.result, resolved.text).toMatchObject({ installed: true });
  expect((resolved.result.packages as { purl: string }[]).map((it) => it.purl).toSorted()).toEqual([
    "pkg:npm/needs-sound@1.0.0",
    "pkg:npm/sound@1.0.0",
  ]);
  const lock = {
    name: "p",
    lockfileVersion: 3,
    packages: {
      "": { dependencies: { sound: "2.0.0" } },
      "node_modules/sound": { version: "2.0.0", resolved: `${registry.url}sound/-/sound-2.0.0.tgz` },
    },
  };
  await staged.call("writeFile", {
    path: "locked/package.json",
    content: '{"dependencies":{"sound":"2.0.0"}}',
    createParents: true,
  });
  await staged.call("writeFile", { path: "locked/package-lock.json", content: JSON.stringify(lock) });
  const locked = await shell(
    staged,
    "cd locked && npm ci --fetch-retries 0 2>&1 | tail -3; ls node_modules 2>/dev/null",
  );
  expect(locked.result.stdout).not.toMatch(/^sound$/m);
  expect(locked.result.blocked?.[0]).toContain("`npm:sound@2.0.0` blocked: it was published less than 72 hours ago");
});

test("no other way leads to a registry: not its own address, not past the proxy, not by another protocol [G24]", async () => {
  const { url, port } = registry;
  const file = `${url}sound/-/sound-2.0.0.tgz`;
  const tries = [
    `curl -sS -m 90 -o young.tgz -w '%{http_code}\\n' ${file}`,
    `curl -sS -m 90 --noproxy '*' -o young2.tgz -w '%{http_code}\\n' ${file}`,
    `curl -sS -m 90 -p -x http://127.0.0.1:3128 -o young3.tgz -w '%{http_code}\\n' ${file}`,
    `curl -sS -m 90 -X POST -o /dev/null -w '%{http_code}\\n' ${url}-/npm/v1/security/audits`,
    `curl -sS -m 90 -o /dev/null -w '%{http_code}\\n' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' ${url}`,
    `curl -sS -m 90 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:${port}/sound/-/sound-2.0.0.tgz'`,
  ];
  const { result } = await shell(staged, `${tries.join("; ")}; grep -l 'too young' young*.tgz`);
  expect(result.stdout.trim().split("\n").slice(0, 5)).toEqual(["403", "403", "403", "405", "400"]);
  expect(registry.requests.filter((it) => it.includes("sound-2.0.0"))).toEqual([]);
});

test("a file that was tampered with is not installed, and the reason is told [G25]", async () => {
  const bent = await install(staged, "npm", [{ name: "bent" }]);
  expect(bent.result).toMatchObject({ installed: false });
  expect(bent.text).toContain("its sha512 is not the one that its registry promises");
  const events = auditRecords(data).flatMap(({ body }) => (body.kind === "event" ? [body] : []));
  expect(events.filter((it) => JSON.stringify(it.facts).includes('"bent"')).map((it) => it.event)).not.toContain(
    "package-admitted",
  );
});

test("explainPolicy tells what a call would be decided, and a bundle without packages has no such tool", async () => {
  const asked = await real.call("explainPolicy", {
    tool: "installPackage",
    arguments: { ecosystem: "cargo", packages: [{ name: "serde" }] },
  });
  expect(asked.result).toMatchObject({ outcome: "deny" });
  await using none = await connect(data, ["--policy", testDirectory(RESOURCES), "--spares", "0"]);
  const { tools } = await none.client.listTools();
  expect(tools.map((it) => it.name)).not.toContain("installPackage");
  expect(none.client.getInstructions()).toContain("no package installation");
});
