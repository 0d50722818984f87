import { readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { importAdvisories } from "../../src/packages/advisories/import.ts";
import { openAdvisories } from "../../src/packages/advisories/store.ts";
import type { EcosystemName, Naming } from "../../src/policy/ecosystems/ecosystem.ts";
import { namingOf } from "../../src/policy/ecosystems/naming.ts";
import { scratch } from "../support/audit.ts";
import { type Affected, importFrom, introduced, type Osv, osv, writeRecords } from "../support/osv.ts";
import { makeZip, type ZipItem } from "../support/zip.ts";

/** What is known when these records, and no others, were imported. */
async function known(records: readonly (Osv | string)[]) {
  const file = join(scratch(), "advisories.sqlite");
  const report = await importFrom([writeRecords(scratch(), records)], file);
  const advisories = openAdvisories(file, namingOf);
  const ids = (ecosystem: EcosystemName, name: string, version: string) =>
    advisories.about(ecosystem, name, version).map((it) => it.id);
  return { file, report, advisories, ids, [Symbol.dispose]: () => advisories[Symbol.dispose]() };
}

test("a version is affected by what lists it and by ranges, as OSV evaluates them", async () => {
  const fixed = {
    ranges: [introduced("1.2.0", { fixed: "1.4.1" }, { introduced: "2.0.0" }, { last_affected: "2.3.0" })],
  };
  using it = await known([
    osv("GHSA-range", "npm", "left", fixed),
    osv("GHSA-list", "npm", "left", { versions: ["1.0.0", "1.3.0", "9.9.9-rc.1"] }),
    osv("GHSA-limit", "npm", "left", { ranges: [introduced("3.0.0", { limit: "3.1.0" }, { limit: "3.5.0" })] }),
    osv("GHSA-open", "npm", "left", { ranges: [introduced("8.0.0", { limit: "*" })] }),
    osv("GHSA-other", "npm", "right"),
  ]);
  const expected = {
    "0.9.0": [],
    "1.0.0": ["GHSA-list"],
    "1.2.0-rc.1": [],
    "1.2.0": ["GHSA-range"],
    "1.3.0": ["GHSA-list", "GHSA-range"],
    "1.4.0": ["GHSA-range"],
    "1.4.1-rc.1": ["GHSA-range"],
    "1.4.1": [],
    "2.0.0": ["GHSA-range"],
    "2.3.0": ["GHSA-range"],
    "2.3.1-0": [],
    "3.4.9": ["GHSA-limit"],
    "3.5.0": [],
    "8.0.1": ["GHSA-open"],
    "9.9.9-rc.1": ["GHSA-list", "GHSA-open"],
  };
  for (const [version, ids] of Object.entries(expected))
    expect([version, it.ids("npm", "left", version)]).toEqual([version, ids]);
  expect(it.ids("npm", "Left", "1.3.0")).toEqual([]);
  expect(it.ids("pip", "left", "1.3.0")).toEqual([]);
});

test("names and versions are compared as their ecosystem spells them", async () => {
  using it = await known([
    osv("PYSEC-1", "PyPI", "Zope.Interface", { versions: ["1.0", "2.0rc1"] }),
    osv("GO-1", "Go", "github.com/google/uuid", { ranges: [introduced("1.3.0", { fixed: "1.4.0" })] }),
    osv("RUSTSEC-1", "crates.io", "Foo_Bar", { ranges: [introduced("0.0.0-0", { fixed: "1.0.0" })] }),
    osv("MVN-1", "Maven", "org.acme:hands", { ranges: [introduced("0", { fixed: "2.0" })] }),
    osv("NPM-1", "npm", "@acme/x", { ranges: [introduced("1.0.0+build.7", { fixed: "1.1.0" })] }),
  ]);
  expect(it.ids("pip", "zope-interface", "1.0.0")).toEqual(["PYSEC-1"]);
  expect(it.ids("pip", "zope-interface", "2.0rc1")).toEqual(["PYSEC-1"]);
  expect(it.ids("pip", "zope-interface", "2.0")).toEqual([]);
  expect(it.ids("pip", "zope-interface", "1.0+cu118")).toEqual(["PYSEC-1"]);
  expect(it.ids("pip", "zope-interface", "1.1+cu118")).toEqual([]);
  expect(it.ids("go", "github.com/google/uuid", "v1.3.1")).toEqual(["GO-1"]);
  expect(it.ids("go", "github.com/google/uuid", "v1.4.0")).toEqual([]);
  expect(it.ids("cargo", "foo-bar", "0.9.9")).toEqual(["RUSTSEC-1"]);
  expect(it.ids("maven", "org.acme:hands", "1.9-alpha")).toEqual(["MVN-1"]);
  expect(it.ids("npm", "@acme/x", "1.0.0")).toEqual(["NPM-1"]);
  expect(it.ids("npm", "@acme/x", "0.9.0")).toEqual([]);
});

test("of Debian's releases the version's own counts, where it names one and the record knows it", async () => {
  const debian = (release: string, fixed: string): Affected => ({
    package: { ecosystem: `Debian:${release}`, name: "openssl" },
    ranges: [introduced("0", { fixed })],
  });
  using it = await known([
    {
      id: "DSA-1",
      affected: [debian("12", "3.0.11-1~deb12u2"), debian("13", "3.2.0-1"), debian("11", "0:1.1.1w-0+deb11u1")],
    },
  ]);
  expect(it.ids("apt", "openssl", "3.0.11-1~deb12u1")).toEqual(["DSA-1"]);
  expect(it.ids("apt", "openssl", "3.0.11-1~deb12u2")).toEqual([]);
  expect(it.ids("apt", "openssl", "1.1.1n-0+deb11u5")).toEqual(["DSA-1"]);
  expect(it.ids("apt", "openssl", "1.1.1w-0+deb11u1")).toEqual([]);
  expect(it.ids("apt", "openssl", "3.1.0-2")).toEqual(["DSA-1"]);
  expect(it.ids("apt", "openssl", "1.1.1n-0+deb10u5")).toEqual(["DSA-1"]);
  expect(it.ids("apt", "openssl", "3.2.0-1")).toEqual([]);
});

test("what can't be evaluated affects every version; ranges of commits count where there is nothing else", async () => {
  const git = { type: "GIT", events: [{ introduced: "0" }, { fixed: "deadbeef" }] };
  using it = await known([
    osv("A-unreadable", "npm", "x", { ranges: [introduced("1.0.0", { fixed: "later" })] }),
    osv("B-kind", "npm", "x", { ranges: [introduced("1.0.0", { repaired: "1.1.0" })] }),
    osv("C-two", "npm", "x", { ranges: [{ type: "SEMVER", events: [{ introduced: "9.0.0", fixed: "9.0.1" }] }] }),
    osv("D-type", "npm", "x", { ranges: [{ type: "CALVER", events: [{ introduced: "9.0.0" }] }] }),
    osv("E-git", "npm", "x", { ranges: [git] }),
    osv("F-none", "npm", "x", { ranges: [] }),
    osv("G-git-and-list", "npm", "x", { versions: ["9.0.0"], ranges: [git] }),
    osv("H-list", "npm", "x", { versions: ["weird", "9.0.0"] }),
    JSON.stringify({
      ...osv("I-versions", "npm", "x"),
      affected: [{ package: { ecosystem: "npm", name: "x" }, versions: [1] }],
    }),
  ]);
  const all = ["A-unreadable", "B-kind", "C-two", "D-type", "E-git", "F-none", "I-versions"];
  expect(it.ids("npm", "x", "0.1.0")).toEqual(all);
  expect(it.ids("npm", "x", "9.0.0").sort()).toEqual([...all, "G-git-and-list", "H-list"].sort());
});

test("malicious by id or alias; withdrawn ones are kept, and about nothing; of two records of one id the later counts", async () => {
  const older = { modified: "2025-01-01T00:00:00Z", versions: ["1.0.0"] };
  using it = await known([
    osv("MAL-2026-1", "npm", "evil"),
    osv("GHSA-1", "npm", "evil", { aliases: ["CVE-1", "MAL-2026-2"] }),
    osv("GHSA-2", "npm", "evil", { aliases: ["CVE-MAL-2"] }),
    osv("MAL-2026-3", "npm", "evil", { withdrawn: "2026-02-01T00:00:00Z" }),
    osv("GHSA-3", "npm", "twice", { ...older, modified: "2026-01-01T00:00:00Z" }),
    osv("GHSA-3", "npm", "twice", { ...older, versions: ["2.0.0"] }),
  ]);
  expect(it.advisories.about("npm", "evil", "1.0.0")).toEqual([
    { id: "GHSA-1", malicious: true },
    { id: "GHSA-2", malicious: false },
    { id: "MAL-2026-1", malicious: true },
  ]);
  expect([it.ids("npm", "twice", "1.0.0"), it.ids("npm", "twice", "2.0.0")]).toEqual([["GHSA-3"], []]);
  expect(it.advisories.imported("npm")).toMatchObject({ records: 5, malicious: 2 });
  expect(it.advisories.imported("pip")).toBeUndefined();
});

/** OSV's pseudocode, word for word, with every comparison made anew. */
function naively(naming: Naming, { versions = [], ranges = [] }: Omit<Affected, "package">, version: string): boolean {
  return (
    versions.some((it) => naming.compare(it, version) === 0) || ranges.some((it) => inRange(naming, it.events, version))
  );
}

function inRange(naming: Naming, events: readonly Readonly<Record<string, string>>[], version: string): boolean {
  const beginning = (it: Readonly<Record<string, string>>) => it["introduced"] === "0";
  const text = (it: Readonly<Record<string, string>>) => Object.values(it)[0] ?? "";
  const above = (it: Readonly<Record<string, string>>) => (beginning(it) ? 1 : naming.compare(version, text(it)));
  const limits = events.filter((it) => it["limit"] !== undefined);
  if (limits.length > 0 && !limits.some((it) => above(it) < 0)) return false;
  const rank = (it: Readonly<Record<string, string>>) => ("fixed" in it ? 0 : "introduced" in it ? 1 : 2);
  const sorted = events.toSorted((a, b) => {
    if (beginning(a) || beginning(b)) return Number(beginning(b)) - Number(beginning(a));
    return naming.compare(text(a), text(b)) || rank(a) - rank(b);
  });
  let vulnerable = false;
  for (const it of sorted) {
    if ("introduced" in it && above(it) >= 0) vulnerable = true;
    else if ("fixed" in it && above(it) >= 0) vulnerable = false;
    else if ("last_affected" in it && above(it) > 0) vulnerable = false;
  }
  return vulnerable;
}

const numbers = fc.nat({ max: 3 });
const semantic = fc
  .tuple(numbers, numbers, numbers, fc.constantFrom("", "-0", "-rc.1", "-rc.2"))
  .map(([a, b, c, pre]) => `${a}.${b}.${c}${pre}`);
const python = fc
  .tuple(numbers, fc.constantFrom("", ".0", ".1", ".0.0"), fc.constantFrom("", "rc1", ".post1", ".dev2"))
  .map(([a, b, suffix]) => `${a}${b}${suffix}`);

/** One or several records about a package, and versions to ask for. */
function casesOf(version: fc.Arbitrary<string>) {
  const event = fc.oneof(
    ...["introduced", "fixed", "last_affected", "limit"].map((kind) =>
      version.map((it): Readonly<Record<string, string>> => ({ [kind]: it })),
    ),
    fc.constant<Readonly<Record<string, string>>>({ introduced: "0" }),
  );
  const range = fc.array(event, { minLength: 1, maxLength: 5 }).map((events) => ({ type: "ECOSYSTEM", events }));
  const affected = fc.record({
    versions: fc.array(version, { minLength: 1, maxLength: 4 }),
    ranges: fc.array(range, { maxLength: 3 }),
  });
  return fc.record({
    all: fc.array(affected, { minLength: 1, maxLength: 4 }),
    asked: fc.array(version, { maxLength: 10 }),
  });
}

test.for([
  ["npm", semantic],
  ["pip", python],
  ["apt", python.map((it) => it.replace("rc", "~rc"))],
] as const)(
  "what the store answers is what OSV's rules say, for any records and versions of %s",
  async ([name, version]) => {
    const naming = namingOf(name);
    const cases = fc.sample(casesOf(version), 400).map((it, number) => ({ ...it, name: `x${number}` }));
    const records = cases.flatMap(({ name: packageName, all }) =>
      all.map((it, number) => osv(`${packageName}-${number}`, naming.osv, packageName, it)),
    );
    using it = await known(records);
    for (const { name: packageName, all, asked } of cases)
      for (const one of asked) {
        const read = naming.readVersion(one) ?? one;
        const expected = all.flatMap((affected, number) =>
          naively(naming, affected, read) ? [`${packageName}-${number}`] : [],
        );
        expect([all, read, it.ids(name, packageName, read)]).toEqual([all, read, expected]);
      }
  },
);

test("an import takes the place of the ecosystems that it has, and of no other", async () => {
  const file = join(scratch(), "advisories.sqlite");
  const both: Osv = {
    id: "GHSA-both",
    affected: [osv("", "npm", "x"), osv("", "PyPI", "x")].flatMap((it) => it.affected ?? []),
  };
  await importFrom([writeRecords(scratch(), [osv("PYSEC-1", "PyPI", "x"), osv("NPM-1", "npm", "x"), both])], file);
  using advisories = openAdvisories(file, namingOf);
  const first = advisories.imported("pip");
  expect(advisories.about("pip", "x", "1").map((it) => it.id)).toEqual(["GHSA-both", "PYSEC-1"]);

  const report = await importFrom([writeRecords(scratch(), [osv("NPM-2", "npm", "x"), both])], file);
  expect(report.imported).toMatchObject([{ ecosystem: "npm", records: 2, malicious: 0, before: 2 }]);
  expect(report.incomplete).toEqual(["pip"]);
  using after = openAdvisories(file, namingOf);
  expect(after.about("npm", "x", "1.0.0").map((it) => it.id)).toEqual(["GHSA-both", "NPM-2"]);
  expect(after.about("pip", "x", "1").map((it) => it.id)).toEqual(["GHSA-both", "PYSEC-1"]);
  expect(after.imported("pip")).toEqual(first);
  // Who had the old state open takes the new one up.
  await expect.poll(() => advisories.about("npm", "x", "1.0.0").map((it) => it.id)).toEqual(["GHSA-both", "NPM-2"]);

  const few = [writeRecords(scratch(), [osv("OWN-1", "PyPI", "y")])];
  await importFrom(few, file);
  const three = [osv("OWN-1", "PyPI", "y"), osv("OWN-2", "PyPI", "y"), osv("OWN-3", "PyPI", "y")];
  await importFrom([writeRecords(scratch(), three)], file);
  await expect(importFrom(few, file)).rejects.toThrow("1 records about pip would take the place of 3");
  const signal = AbortSignal.timeout(60_000);
  expect(await importAdvisories(few, file, { namingOf, fewer: true, signal })).toMatchObject({
    imported: [{ before: 3 }],
  });

  const only = importFrom([writeRecords(scratch(), [both])], file);
  await expect(only).rejects.toMatchObject({ code: "ADVISORIES_INVALID" });
});

test("the digest tells the records, and not how they came", async () => {
  const records = [osv("A-1", "npm", "x"), osv("A-2", "npm", "y", { versions: ["1.0.0"] }), osv("A-3", "npm", "x")];
  const zip = join(scratch(), "all.zip");
  const items = records.toReversed().map((it) => ({ name: `npm/${it.id}.json`, content: JSON.stringify(it) }));
  writeFileSync(
    zip,
    makeZip([{ name: "npm/", content: "", stored: true }, { name: "README.md", content: "#" }, ...items]),
  );
  const one = join(scratch(), "one.json");
  writeFileSync(one, JSON.stringify(records[1]));
  const digestOf = async (...paths: string[]) =>
    (await importFrom(paths, join(scratch(), "advisories.sqlite"))).imported[0]?.digest;
  const digest = await digestOf(writeRecords(scratch(), records));
  expect(await digestOf(zip)).toBe(digest);
  expect(await digestOf(one, zip, one)).toBe(digest);
  expect(await digestOf(one)).not.toBe(digest);
});

test("what is no record is counted and named, and fails a strict import; other ecosystems are passed over", async () => {
  const bad = [
    "",
    "{",
    "[]",
    "null",
    '{"id": 7}',
    '{"id": "a b"}',
    '{"id": "A-1", "affected": [{"package": {"name": "x"}}]}',
  ];
  const folder = writeRecords(scratch(), [
    ...bad,
    osv("A-2", "npm", "x"),
    osv("A-3", "Packagist", "x"),
    osv("A-4", "npm", "../x"),
  ]);
  const file = join(scratch(), "advisories.sqlite");
  const report = await importFrom([folder], file);
  expect(report).toMatchObject({ malformed: bad.length, incomplete: [], imported: [{ ecosystem: "npm", records: 1 }] });
  expect(report.malformedFiles).toContain("3.json");
  const before = readFileSync(file);
  await expect(importFrom([folder], file, true)).rejects.toMatchObject({ code: "ADVISORIES_INVALID" });
  for (const it of ["nothing-there", writeRecords(scratch(), []), writeRecords(scratch(), ["{"])])
    await expect(importFrom([it], file)).rejects.toMatchObject({ code: "ADVISORIES_INVALID" });
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(importAdvisories([folder], file, { namingOf, signal })).rejects.toThrow("enough");
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(readdirSync(join(file, "..")).sort()).toEqual(["advisories.sqlite", "advisories.sqlite.lock"]);
});

test("a hostile zip is refused whole, and writes nothing anywhere", async () => {
  const record = (id: string) => JSON.stringify(osv(id, "npm", "x"));
  const folder = scratch();
  const file = join(folder, "advisories.sqlite");
  const importZip = async (items: readonly ZipItem[]) => {
    const zip = join(scratch(), "all.zip");
    writeFileSync(zip, makeZip(items));
    return await importFrom([zip], file);
  };
  const good = await importZip([
    { name: "../../../escape.json", content: record("A-1") },
    { name: "/tmp/absolute.json", content: record("A-2") },
    { name: Buffer.from([0xff, 0x0a, ...Buffer.from(".json")]), content: record("A-3") },
    { name: "large.json", content: Buffer.alloc(33 * 1024 ** 2, " "), stored: true },
    { name: "deep.json", content: "[".repeat(1_000_000) },
    { name: "latin.json", content: Buffer.from([0x22, 0xff, 0x22]) },
  ]);
  expect(good).toMatchObject({ malformed: 3, imported: [{ records: 3 }] });
  const before = readFileSync(file);
  const item = { name: "a.json", content: record("A-4") };
  const bomb = Array.from({ length: 4 }, (_, n) => ({ name: `${n}.json`, content: Buffer.alloc(20 * 1024 ** 2) }));
  for (const items of [
    [item, { ...item, flags: 1 }],
    [item, { ...item, claimedCrc: 1 }],
    [item, { ...item, claimedSize: 3 }],
    [item, ...bomb],
  ])
    await expect(importZip(items)).rejects.toMatchObject({ code: "ADVISORIES_INVALID" });
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["advisories.sqlite", "advisories.sqlite.lock"]);
});

test("without a file nothing is known; a damaged one is refused, when it is opened or when it is asked", async () => {
  const file = join(scratch(), "advisories.sqlite");
  using nothing = openAdvisories(file, namingOf);
  expect([nothing.about("npm", "x", "1.0.0"), nothing.imported("npm")]).toEqual([[], undefined]);

  const records = Array.from({ length: 2_000 }, (_, n) => osv(`MAL-${n}`, "npm", `package-${n}`));
  await importFrom([writeRecords(scratch(), records)], file);
  await expect.poll(() => nothing.about("npm", "package-7", "1.0.0")).toHaveLength(1);

  const whole = readFileSync(file);
  const damaged = (change: (bytes: Buffer) => Buffer) => {
    const other = join(scratch(), "advisories.sqlite");
    writeFileSync(other, change(Buffer.from(whole)));
    return () => {
      using advisories = openAdvisories(other, namingOf);
      for (let n = 0; n < 2_000; n++) advisories.about("npm", `package-${n}`, "1.0.0");
    };
  };
  expect(damaged((it) => it)).not.toThrow();
  const ways: ((bytes: Buffer) => Buffer)[] = [
    () => Buffer.alloc(0),
    () => Buffer.from("not a database, but long enough for a header".repeat(100)),
    (it) => it.subarray(0, it.length - 4_096),
    (it) => it.subarray(0, 5_000),
    (it) => it.fill(0, 8_192, 12_288),
    (it) => it.fill(0x41, it.length - 4_000, it.length - 100),
  ];
  for (const way of ways) expect(damaged(way)).toThrow(expect.objectContaining({ code: "ADVISORIES_INVALID" }));

  // Open, and then replaced by something damaged.
  const bad = join(scratch(), "bad");
  writeFileSync(bad, whole);
  truncateSync(bad, statSync(bad).size - 4_096);
  renameSync(bad, file);
  await expect.poll(() => tried(() => nothing.about("npm", "package-7", "1.0.0"))).toBe("ADVISORIES_INVALID");
  // Importing again mends it.
  const report = await importFrom([writeRecords(scratch(), records)], file);
  expect(report.replacedDamaged).toBe(true);
  await expect.poll(() => tried(() => nothing.about("npm", "package-7", "1.0.0"))).toBe("MAL-7");
});

function tried(ask: () => readonly { id: string }[]): unknown {
  try {
    return ask()[0]?.id;
  } catch (error) {
    return (error as { code: string }).code;
  }
}
