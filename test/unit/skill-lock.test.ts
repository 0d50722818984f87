import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareLock, type LockedSkill, lockOf, lockText, MAX_LOCK_BYTES, readLock } from "../../src/skill/lock.ts";
import { scratch } from "../support/signed-bundle.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const locked = (name: string, version = "1.0.0", digit = "0"): LockedSkill => ({
  name,
  version,
  digest: digest(digit),
});
const line = (name: string) => `  - { name: "${name}", version: "1.0.0", digest: "${digest("0")}" }\n`;
const HEAD = "format: 1\nskills:\n";

function directoryWith(text: string | Buffer): string {
  const directory = scratch();
  writeFileSync(join(directory, "skills.lock"), text, { mode: 0o644 });
  return directory;
}

async function problemsOf(directory: string): Promise<readonly string[]> {
  const read = await readLock(directory);
  if (!read || !("problems" in read)) throw new Error("the lock was believed");
  return read.problems.map(({ file, line, message }) => `${file}:${line ?? ""} ${message}`);
}

test("a lock is a line a skill, sorted, so that a review of its changes is short", () => {
  expect(lockText(lockOf([locked("slack", "2.1.0", "b"), locked("git-repo", "1.0.0-rc.1", "a")]))).toBe(
    [
      "# Written by `glovebox skill lock`: what was reviewed, and nothing else, is loaded.",
      "format: 1",
      "skills:",
      `  - { name: "git-repo", version: "1.0.0-rc.1", digest: "${digest("a")}" }`,
      `  - { name: "slack", version: "2.1.0", digest: "${digest("b")}" }`,
      "",
    ].join("\n"),
  );
});

test("what is locked is read again, whatever YAML would make of the names", async () => {
  const skill = fc.record({
    name: fc.oneof(
      fc.stringMatching(/^[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}$/),
      fc.constantFrom("null", "1e3", "0x1", "10", "9"),
    ),
    version: fc.stringMatching(/^(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})$/),
    digest: fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
  });
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(skill, { selector: (it) => it.name, maxLength: 8 }), async (skills) => {
      const lock = lockOf(skills);
      const read = await readLock(directoryWith(lockText(lock)));
      expect(read).toEqual({ lock, bytes: Buffer.from(lockText(lock)) });
    }),
    { numRuns: 50 },
  );
});

test("no lock is none, and no mistake", async () => {
  expect(await readLock(scratch())).toBeUndefined();
  expect(await readLock(join(scratch(), "none"))).toBeUndefined();
});

test.each<[string, string | Buffer, RegExp]>([
  ["nothing in it", "", /skills.lock:1 .*expected object/],
  ["no YAML", "format: [", /skills.lock:1 /],
  ["another format", "format: 2\nskills: []\n", /:1 format: must be 1/],
  ["no skills", "format: 1\n", /skills: /],
  ["an unknown key", `${HEAD}${line("a")}trust: all\n`, /:4 trust: Unrecognized key/],
  [
    "an unknown key of a skill",
    `${HEAD}  - { name: "a", version: "1.0.0", digest: "${digest("0")}", allow: yes }\n`,
    /:3 .*"allow"/,
  ],
  ["a name twice", `${HEAD}${line("a")}${line("a")}`, /:4 skills.1.name: is there twice/],
  ["another order", `${HEAD}${line("b")}${line("a")}`, /:4 skills.1.name: must stand before b/],
  ["a name twice, apart", `${HEAD}${line("a")}${line("b")}${line("a")}`, /:5 skills.2.name: must stand before b/],
  ["a key twice", `${HEAD}${line("a")}format: 1\n`, /:4 Map keys must be unique/],
  ["a path for a name", `${HEAD}${line("../a")}`, /:3 .*must be a skill's name/],
  ["a version that is none", `${HEAD}${line("a").replace("1.0.0", "v1")}`, /:3 .*must be a version/],
  ["a shorter digest", `${HEAD}${line("a").replace("00", "0")}`, /:3 .*must be sha256: and 64/],
  ["a digest in capitals", `${HEAD}${line("a").replaceAll("00", "AA")}`, /:3 .*must be sha256: and 64/],
  ["another hash", `${HEAD}${line("a").replace("sha256", "sha1")}`, /:3 .*must be sha256: and 64/],
  ["an alias", `format: 1\nskills: [&a { name: "a" }, *a]\n`, /aliases are not supported/],
  ["two documents", `${HEAD}${line("a")}---\n${HEAD}${line("b")}`, /:4 Source contains multiple documents/],
  ["no Unicode", Buffer.from([0xff, 0xfe]), /is not valid UTF-8/],
  ["too much", `#${"x".repeat(MAX_LOCK_BYTES)}`, /is larger than/],
])("a lock with %s is refused, and locks nothing", async (_, text, message) => {
  expect(await problemsOf(directoryWith(text))).toContainEqual(expect.stringMatching(message));
});

test("a lock that is a link or a folder, or that anybody may write or replace, is refused", async () => {
  const good = lockText(lockOf([locked("a")]));
  const elsewhere = join(directoryWith(good), "skills.lock");

  const linked = scratch();
  symlinkSync(elsewhere, join(linked, "skills.lock"));
  expect(await problemsOf(linked)).toEqual(["skills.lock: is not a regular file"]);

  const dangling = scratch();
  symlinkSync("/nonexistent", join(dangling, "skills.lock"));
  expect(await problemsOf(dangling)).toEqual(["skills.lock: is not a regular file"]);

  const folder = scratch();
  mkdirSync(join(folder, "skills.lock"));
  expect(await problemsOf(folder)).toEqual(["skills.lock: is not a regular file"]);

  const writable = directoryWith(good);
  chmodSync(join(writable, "skills.lock"), 0o646);
  expect(await problemsOf(writable)).toEqual(["skills.lock: anybody may write it"]);

  const replaceable = directoryWith(good);
  chmodSync(replaceable, 0o777);
  expect(await problemsOf(replaceable)).toEqual([".: anybody may write it"]);
});

test("skills are pinned, unpinned or changed, and what is locked and gone is named", () => {
  const lock = lockOf([locked("kept"), locked("edited"), locked("relabelled"), locked("gone")]);
  const found = [locked("kept"), locked("edited", "1.0.0", "1"), locked("relabelled", "1.0.1"), locked("new")];
  const { skills, missing } = compareLock(lock, found);
  expect(skills.map(({ skill, state, locked }) => [skill.name, state, locked?.digest])).toEqual([
    ["kept", "pinned", digest("0")],
    ["edited", "changed", digest("0")],
    ["relabelled", "changed", digest("0")],
    ["new", "unpinned", undefined],
  ]);
  expect(missing.map((it) => it.name)).toEqual(["gone"]);
});

test("without a lock every skill is unpinned", () => {
  expect(compareLock([], [locked("a")])).toEqual({ skills: [{ skill: locked("a"), state: "unpinned" }], missing: [] });
});
