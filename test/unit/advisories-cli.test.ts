import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPurl } from "../../src/packages/advisories/read-purl.ts";
import { openAdvisories } from "../../src/packages/advisories/store.ts";
import { namingOf } from "../../src/policy/ecosystems/naming.ts";
import { scratch } from "../support/audit.ts";
import { osv, writeRecords } from "../support/osv.ts";
import { makeZip } from "../support/zip.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const env = { ...process.env, NO_COLOR: "1" };

function advisories(data: string, ...args: string[]) {
  return spawnSync(process.execPath, [ENTRY, "advisories", ...args, "--data-dir", data], { encoding: "utf8", env });
}

test("import says what it took and what it passed over; status and about show it", () => {
  const data = join(scratch(), "data");
  expect(advisories(data, "status").stdout).toMatch(/^pip {4}nothing imported\nnpm {4}nothing imported\n/);
  const folder = writeRecords(scratch(), [
    osv("MAL-2026-1", "npm", "evil"),
    osv("GHSA-1", "npm", "@acme/x", { versions: ["1.0.0"] }),
    { id: "GHSA-2", affected: [osv("", "npm", "x"), osv("", "PyPI", "x")].flatMap((it) => it.affected ?? []) },
    "{",
  ]);
  const imported = advisories(data, "import", folder);
  expect(imported.stdout).toBe("npm: 3 records, 1 of malicious packages (0 records before)\n");
  expect(imported.stderr.split("\n")).toEqual([
    "passed over 1 files that are no OSV records: 3.json",
    "pip: only named in records of other ecosystems; what was known of it stays as it is",
    "",
  ]);
  const log = readdirSync(join(data, "audit"), { recursive: true, encoding: "utf8" }).filter((it) =>
    it.endsWith(".jsonl"),
  );
  const records = log.map((it) => readFileSync(join(data, "audit", it), "utf8")).join("");
  const [pip, npm] = JSON.parse(advisories(data, "status", "--json").stdout);
  expect(records).toContain("advisories-imported");
  expect(records).toContain(npm.digest);
  expect(pip).toEqual({ ecosystem: "pip" });
  expect(npm).toMatchObject({ ecosystem: "npm", records: 3, malicious: 1, ageHours: 0 });
  expect(advisories(data, "status").stdout).toContain(
    `npm    3 records, 1 of malicious packages  ${npm.importedAt} (0 h ago)  sha256:${npm.digest}`,
  );

  expect(advisories(data, "about", "pkg:npm/evil@0.0.1").stdout).toBe("MAL-2026-1  malicious\n");
  expect(advisories(data, "about", "pkg:npm/%40acme/x@1.0.0").stdout).toBe("GHSA-1\n");
  expect(advisories(data, "about", "pkg:npm/%40acme/x@1.0.1").stdout).toBe("pkg:npm/%40acme/x@1.0.1: no advisories\n");
  const unknown = advisories(data, "about", "pkg:pypi/x@1", "--json");
  expect([unknown.status, JSON.parse(unknown.stdout)]).toEqual([
    1,
    { purl: "pkg:pypi/x@1", imported: false, advisories: [] },
  ]);

  const strict = advisories(data, "import", "--strict", folder);
  expect([strict.status, strict.stderr]).toEqual([
    1,
    expect.stringMatching(/^ADVISORIES_INVALID: `3.json` is no OSV record\nWhat to do: /),
  ]);
  const missing = advisories(data, "import", join(data, "nothing"));
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining("there is none")]);
  writeFileSync(join(data, "advisories.sqlite"), "damaged");
  const damaged = advisories(data, "about", "pkg:npm/evil@0.0.1");
  expect([damaged.status, damaged.stderr]).toEqual([1, expect.stringMatching(/^ADVISORIES_INVALID/)]);
});

test("a package URL names a package of each ecosystem; what names none is refused with an example", () => {
  const purls = {
    "pkg:npm/%40acme/x@1.0.0": "@acme/x 1.0.0",
    "pkg:pypi/Zope.Interface@5.0?file=x#y": "zope-interface 5.0",
    "pkg:golang/github.com/google/uuid@v1.3.0": "github.com/google/uuid v1.3.0",
    "pkg:maven/org.acme/hands@1.0": "org.acme:hands 1.0",
    "pkg:deb/debian/openssl@3.0.11-1~deb12u2": "openssl 3.0.11-1~deb12u2",
    "pkg:deb/debian/git@1%3A2.39": "git 1:2.39",
    "pkg:cargo/serde@1.0.0": "serde 1.0.0",
  };
  for (const [purl, expected] of Object.entries(purls)) {
    const { name, version } = readPurl(purl);
    expect(`${name} ${version}`).toBe(expected);
  }
  const bad = [
    "",
    "lodash",
    "pkg:npm/lodash",
    "pkg:npm/lodash@^4",
    "pkg:npm/..@1.0.0",
    "pkg:gem/x@1",
    "pkg:npm/%@1.0.0",
    "pkg:deb/ubuntu/x@1",
  ];
  for (const it of bad) expect(() => readPurl(it)).toThrow("pkg:npm/lodash@4.17.20");
});

/** The heap is small, so that what is not needed any more does not count. */
const smallHeap = { ...env, NODE_OPTIONS: "--max-old-space-size=96 --max-semi-space-size=2" };

/** The most that a process has had in memory, in bytes; 0 when it has ended. */
function peakOf(pid: number): number {
  const [, kibibytes = 0] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kibibytes) * 1_024;
}

test("fifty thousand records are imported in the memory of a few", async () => {
  const data = scratch();
  const details = "what it does, at length. ".repeat(100);
  const zipOf = (from: number, count: number) => {
    const path = join(scratch(), "all.zip");
    const records = Array.from({ length: count }, (_, n) => ({
      ...osv(`MAL-${from + n}`, "npm", `package-${from + n}`),
      details,
    }));
    writeFileSync(path, makeZip(records.map((it) => ({ name: `${it.id}.json`, content: JSON.stringify(it) }))));
    return path;
  };
  const peak = async (...zips: string[]) => {
    const child = spawn(process.execPath, [ENTRY, "advisories", "import", ...zips, "--data-dir", data], {
      env: smallHeap,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let most = 0;
    const timer = setInterval(() => {
      if (child.exitCode === null && child.pid !== undefined) most = Math.max(most, peakOf(child.pid));
    }, 20);
    const said: string[] = await child.stderr.setEncoding("utf8").toArray();
    if (child.exitCode === null) await once(child, "exit");
    clearInterval(timer);
    expect([child.exitCode, said.join("")]).toEqual([0, expect.anything()]);
    return { most, said: said.join("") };
  };
  const few = await peak(zipOf(0, 2_000));
  const many = await peak(zipOf(0, 25_000), zipOf(25_000, 25_000));
  expect(many.said).toContain("50000 files read");
  expect(many.most - few.most).toBeLessThan(32 * 1_024 ** 2);
  using store = openAdvisories(join(data, "advisories.sqlite"), namingOf);
  expect(store.imported("npm")).toMatchObject({ records: 50_000, malicious: 50_000 });
  expect(store.about("npm", "package-49999", "1.0.0")).toEqual([{ id: "MAL-49999", malicious: true }]);
});

test("an import that is killed or interrupted leaves what was known, and the next one works", async () => {
  const data = scratch();
  const folder = writeRecords(scratch(), [osv("MAL-1", "npm", "x")]);
  expect(advisories(data, "import", folder).status).toBe(0);
  const more = writeRecords(
    scratch(),
    Array.from({ length: 100 }, (_, n) => osv(`MAL-${n + 2}`, "npm", "x")),
  );
  // Where nobody writes an import waits, in the middle of its work.
  const pipe = join(scratch(), "pipe");
  execFileSync("mkfifo", [pipe]);
  for (const [signal, leftovers] of [
    ["SIGINT", []],
    ["SIGKILL", ["advisories.sqlite.new"]],
  ] as const) {
    const args = [ENTRY, "advisories", "import", more, pipe, "--data-dir", data];
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
    const said = child.stderr.setEncoding("utf8").toArray();
    const draft = join(data, "advisories.sqlite.new");
    await expect.poll(() => existsSync(draft), { timeout: 30_000, interval: 5 }).toBe(true);
    const other = advisories(data, "import", folder);
    expect([other.status, other.stderr]).toEqual([1, expect.stringContaining("another import is running")]);
    child.kill(signal);
    if (signal === "SIGINT") writeFileSync(pipe, "");
    await once(child, "exit");
    expect((await said).join("")).toContain(signal === "SIGINT" ? "CANCELLED: interrupted" : "");
    expect(readdirSync(data).filter((it) => it.endsWith(".new"))).toEqual(leftovers);
    expect(advisories(data, "about", "pkg:npm/x@1.0.0").stdout).toBe("MAL-1  malicious\n");
  }
  expect(advisories(data, "import", folder).stdout).toContain("1 records before");
  expect(readdirSync(data).sort()).toEqual(["advisories.sqlite", "advisories.sqlite.lock", "audit", "keys"]);
});
