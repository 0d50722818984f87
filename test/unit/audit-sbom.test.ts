import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { expect, test } from "vitest";
import type { z } from "zod";
import type { admittedSchema } from "../../src/audit/admitted.ts";
import { takeInventory } from "../../src/audit/inventory.ts";
import { type AuditLog, openAuditLog } from "../../src/audit/log.ts";
import { sbomText } from "../../src/audit/sbom.ts";
import type { Admitted } from "../../src/packages/session-packages.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";

type Facts = Admitted & { readonly policies: readonly string[]; readonly calls: readonly string[] };
// What is read here is what is written there, to the last key: a change of one that the other misses does not compile.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
true satisfies Same<z.infer<typeof admittedSchema>, Facts>;

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const REGISTRY = "registry.test:443";

const lodash: Facts = {
  purl: "pkg:npm/lodash@4.17.21",
  ecosystem: "npm",
  name: "lodash",
  version: "4.17.21",
  file: "lodash-4.17.21.tgz",
  registry: REGISTRY,
  integrity: `sha512-${"ab".repeat(64)}`,
  sha256: "1".repeat(64),
  bytes: 319_137,
  licenses: ["MIT"],
  ageHours: 40_000,
  requested: true,
  cached: false,
  policies: ["main.cedar#packages"],
  calls: ["call-1"],
};
const scoped: Facts = {
  ...lodash,
  purl: "pkg:npm/%40acme/x@1.0.0-rc.1",
  name: "@acme/x",
  version: "1.0.0-rc.1",
  file: "x-1.0.0-rc.1.tgz",
  sha256: "2".repeat(64),
  licenses: ["MIT", "Apache-2.0 WITH LLVM-exception"],
  requested: false,
};
const { integrity: _, ...unpromised } = lodash;
const wheel: Facts = {
  ...unpromised,
  purl: "pkg:pypi/numpy@2.3.0",
  ecosystem: "pip",
  name: "numpy",
  version: "2.3.0",
  file: "numpy-2.3.0-cp313-manylinux.whl",
  sha256: "3".repeat(64),
  licenses: [],
};
const sdist: Facts = { ...wheel, file: "numpy-2.3.0.tar.gz", sha256: "4".repeat(64), requested: false };

function admit(log: AuditLog, sessionId: string, { ...facts }: Facts): Promise<void> {
  return log.append({ kind: "event", event: "package-admitted", sessionId, facts });
}

/** A data directory with a closed log, over several segments. */
async function logged(fill: (log: AuditLog) => Promise<unknown>): Promise<{ data: string; audit: string }> {
  const data = scratch();
  const audit = join(data, "audit");
  mkdirSync(audit);
  await using log = await openAuditLog({ directory: audit, gateway: "gw-test", segmentBytes: 2_000 });
  await fill(log);
  return { data, audit };
}

const twoSessions = () =>
  logged(async (log) => {
    for (const sessionId of ["ses-1", "ses-2", "ses-3"]) {
      await log.append({ kind: "event", event: "session-opened", sessionId, facts: {} });
    }
    await admit(log, "ses-1", scoped);
    await admit(log, "ses-1", sdist);
    await admit(log, "ses-1", wheel);
    await admit(log, "ses-2", lodash);
    await admit(log, "ses-2", { ...lodash, requested: false, cached: true });
    await admit(log, "ses-2", wheel);
  });

async function textOf(audit: string, options: { session?: string; sinceMs?: number } = {}): Promise<string> {
  const text = sbomText(await takeInventory(audit, options), options, "1.2.3");
  expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)).toBeNull();
  return text;
}

const bomOf = async (...args: Parameters<typeof textOf>) => JSON.parse(await textOf(...args));

const valuesOf = ({ properties }: { properties: { name: string; value: string }[] }, name: string) =>
  properties.filter((it) => it.name === `glovebox:${name}`).map((it) => it.value);

test("each package that entered is one component, with the digest of each of its files, as the official schema wants it", async () => {
  const { audit } = await twoSessions();
  const bom = await bomOf(audit);
  expect(bom.components.map((it: { purl: string }) => it.purl)).toEqual([scoped.purl, lodash.purl, wheel.purl]);
  const [acme, npm, pip] = bom.components;
  expect(acme).toMatchObject({
    type: "library",
    group: "@acme",
    name: "x",
    version: "1.0.0-rc.1",
    hashes: [{ alg: "SHA-256", content: scoped.sha256 }],
    licenses: [{ expression: "MIT OR (Apache-2.0 WITH LLVM-exception)", acknowledgement: "declared" }],
  });
  expect(npm).toMatchObject({ name: "lodash", licenses: [{ expression: "MIT" }] });
  expect(npm).not.toHaveProperty("group");
  expect([valuesOf(npm, "requested"), valuesOf(npm, "registry")]).toEqual([["true"], [REGISTRY]]);
  expect([valuesOf(npm, "integrity"), valuesOf(npm, "session")]).toEqual([[lodash.integrity], ["ses-2"]]);
  expect([pip.name, valuesOf(pip, "requested"), valuesOf(pip, "session")]).toEqual([
    "numpy",
    ["true"],
    ["ses-1", "ses-2"],
  ]);
  expect(pip.externalReferences).toEqual(
    [sdist, wheel].map(({ file, sha256 }) => ({
      type: "distribution",
      url: file,
      comment: `319137 bytes from ${REGISTRY}`,
      hashes: [{ alg: "SHA-256", content: sha256 }],
    })),
  );
  expect([valuesOf(pip, "integrity"), pip.licenses]).toEqual([[], undefined]);
});

test("it says up to which record the log was verified, and which record says that a file entered", async () => {
  const { audit } = await twoSessions();
  const { metadata, components } = await bomOf(audit, { session: "ses-2" });
  const records = recordsOf(onlyChain(audit));
  const last = records.at(-1);
  expect(metadata).toMatchObject({ timestamp: last?.time, component: { name: "ses-2" } });
  expect(metadata.tools.components).toEqual([{ type: "application", name: "glovebox", version: "1.2.3" }]);
  expect(valuesOf(metadata, "audit-head")).toEqual([`${last?.chain} ${last?.seq} ${last?.hash}`]);
  expect(components.map((it: { name: string }) => it.name)).toEqual(["lodash", "numpy"]);
  for (const it of components) {
    const [chain, seq, hash] = valuesOf(it, "record")[0]?.split(" ") ?? [];
    const record = records.find((candidate) => candidate.hash === hash);
    expect([record?.chain, String(record?.seq)]).toEqual([chain, seq]);
    expect(record?.body).toMatchObject({ sessionId: "ses-2", facts: { purl: it.purl } });
  }
});

test("the same log gives the same bytes; another one, or another question, another serial number", async () => {
  const { audit } = await twoSessions();
  const serial = (text: string) => JSON.parse(text).serialNumber as string;
  const text = await textOf(audit);
  expect(await textOf(audit)).toBe(text);
  expect(serial(text)).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const others = [await textOf(audit, { session: "ses-1" }), await textOf(audit, { sinceMs: 0 })];
  {
    await using log = await openAuditLog({ directory: audit, gateway: "gw-later" });
    await admit(log, "ses-4", lodash);
  }
  others.push(await textOf(audit));
  expect(new Set([text, ...others].map(serial)).size).toBe(4);
});

test("a session that installed nothing, and a log without packages, have an empty bill", async () => {
  const { audit } = await twoSessions();
  expect((await bomOf(audit, { session: "ses-3" })).components).toEqual([]);
  expect((await bomOf(audit, { sinceMs: Date.now() + 60_000 })).components).toEqual([]);
  const empty = await logged(async () => undefined);
  expect(await bomOf(empty.audit)).toMatchObject({ components: [], metadata: { properties: [] } });
});

test("what registries and agents chose is made printable, licences that SPDX does not know are names", async () => {
  const odd: Facts = {
    ...lodash,
    version: "1.0\u001b[2J",
    file: `a b/\u202e${"\u{1f9e4}".repeat(400)}.tgz`,
    registry: "evil.test:443\n",
    licenses: ["MIT", "see LICENSE\u0007\n in the box", `${"(".repeat(9_000)}MIT`],
    policies: ["\u001b]0;x"],
  };
  const { audit } = await logged((log) => admit(log, "ses-\u202e1", odd));
  const text = await textOf(audit);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]|\\u00|\\[nt]/);
  const [only] = JSON.parse(text).components;
  const names = only.licenses.map((it: { license: { name: string } }) => it.license.name);
  expect(names.slice(0, 2)).toEqual(["MIT", "see LICENSE\ufffd  in the box"]);
  expect(names[2].length).toBeLessThan(600);
});

test("a record that can't be read as a package's is refused, not left out", async () => {
  const broken = [
    { ...lodash, extra: true },
    { ...lodash, sha256: "12" },
    { ...lodash, purl: "pkg:npm/lodash" },
  ];
  for (const facts of broken) {
    const { audit } = await logged((log) => admit(log, "ses-1", facts));
    await expect(textOf(audit)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  }
  const { audit } = await logged((log) =>
    log.append({ kind: "event", event: "package-admitted", facts: { ...lodash } }),
  );
  await expect(textOf(audit)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
});

function sbom(data: string, ...args: string[]) {
  const command = [ENTRY, "audit", "sbom", ...args, "--data-dir", data];
  return spawnSync(process.execPath, command, { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
}

test("the command prints the bill or writes it to a file", async () => {
  const { data } = await twoSessions();
  const printed = sbom(data, "--session", "ses-2");
  expect([printed.status, printed.stderr]).toEqual([0, ""]);
  expect(JSON.parse(printed.stdout).components).toHaveLength(2);
  const file = join(data, "sbom.json");
  const written = sbom(data, "--session", "ses-2", "--output", file);
  expect([written.status, written.stdout, written.stderr]).toEqual([0, "", ""]);
  expect(readFileSync(file, "utf8")).toBe(printed.stdout);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  expect(JSON.parse(sbom(data, "--since", tomorrow).stdout).components).toEqual([]);
  expect(JSON.parse(sbom(data, "--since", "2020-01-01").stdout).components).toHaveLength(3);
  for (const since of ["yesterday", "2026-11-21T09:30:00", "2026-02-31"]) {
    expect(sbom(data, "--since", since)).toMatchObject({ status: 1, stderr: expect.stringContaining("give a date") });
  }
  const nowhere = sbom(data, "--output", join(data, "missing", "sbom.json"));
  expect([nowhere.status, nowhere.stderr]).toEqual([1, expect.stringContaining("cannot be written")]);
});

test("an unknown session names those that have packages; a damaged log gives no bill [G7]", async () => {
  const { data, audit } = await twoSessions();
  const unknown = sbom(data, "--session", "ses-9\u001b[2J");
  expect([unknown.status, unknown.stdout]).toEqual([1, ""]);
  expect(unknown.stderr).toContain("packages entered ses-1, ses-2");
  expect(unknown.stderr).not.toContain("\u001b");
  const segment = join(onlyChain(audit), "000001.jsonl");
  writeFileSync(segment, readFileSync(segment, "utf8").replace("x-1.0.0", "x-1.0.1"));
  const file = join(data, "sbom.json");
  const damaged = sbom(data, "--output", file);
  expect([damaged.status, damaged.stdout]).toEqual([1, ""]);
  expect(damaged.stderr).toMatch(/AUDIT_CORRUPT.*does not verify: chain-\w+\/000001\.jsonl:\d+: its hash is not/);
  expect(damaged.stderr).toContain("glovebox audit verify");
  expect(() => readFileSync(file)).toThrow("ENOENT");
});
