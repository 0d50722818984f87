import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { problemText } from "../../src/policy/bundle.ts";
import { digestOf, MAX_FILE_BYTES, MAX_FILES, readSkillFiles } from "../../src/skill/read-files.ts";
import { folderOf } from "../support/skill.ts";

const FILES = { "demo/SKILL.md": "one", "demo/scripts/run.py*": "two", "demo/a/b/c/d": "" };

async function filesOf(directory: string) {
  const read = await readSkillFiles(directory);
  if ("problems" in read) throw new Error(read.problems.map(problemText).join("\n"));
  return read.files;
}

async function problemsOf(directory: string): Promise<string> {
  const read = await readSkillFiles(directory);
  return "problems" in read ? read.problems.map(problemText).join("\n") : "";
}

test("files are read with their contents and executable bits, sorted by path", async () => {
  const files = await filesOf(join(folderOf(FILES), "demo"));
  expect([...files].map(([path, it]) => [path, it.content.toString(), it.executable])).toEqual([
    ["SKILL.md", "one", false],
    ["a/b/c/d", "", false],
    ["scripts/run.py", "two", true],
  ]);
});

test("the digest changes with every path, executable bit and content, and with nothing else", async () => {
  const digest = async (files: Record<string, string>) => digestOf(await filesOf(join(folderOf(files), "demo")));
  const base = await digest(FILES);
  expect(base).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(await digest(Object.fromEntries(Object.entries(FILES).reverse()))).toBe(base);
  const files = await filesOf(join(folderOf(FILES), "demo"));
  expect(digestOf(new Map([...files].reverse()))).toBe(base);
  const others = [
    { ...FILES, "demo/SKILL.md": "One" },
    { ...FILES, "demo/more": "" },
    { "demo/SKILL.md": "one", "demo/scripts/run.py": "two", "demo/a/b/c/d": "" },
    { "demo/SKILL.md": "one", "demo/script/srun.py*": "two", "demo/a/b/c/d": "" },
    { "demo/SKILL.mdo": "ne", "demo/scripts/run.py*": "two", "demo/a/b/c/d": "" },
  ];
  expect(new Set([base, ...(await Promise.all(others.map(digest)))]).size).toBe(others.length + 1);
});

test("what trying a script leaves behind is no part of a skill", async () => {
  const left = {
    "demo/scripts/__pycache__/run.cpython-311.pyc": "\0",
    "demo/.DS_Store": "\0",
    "demo/a/.DS_Store": "\0",
  };
  const files = await filesOf(join(folderOf({ ...FILES, ...left }), "demo"));
  expect([...files.keys()]).toEqual(["SKILL.md", "a/b/c/d", "scripts/run.py"]);
});

test("the way to the folder may lead over a link, the folder itself is none", async () => {
  const root = folderOf(FILES);
  mkdirSync(join(root, "real"));
  renameSync(join(root, "demo"), join(root, "real", "demo"));
  symlinkSync("real", join(root, "way"));
  symlinkSync("real/demo", join(root, "other"));
  expect([...(await filesOf(join(root, "way", "demo"))).keys()]).toContain("SKILL.md");
  expect(await problemsOf(join(root, "other"))).toMatch(/^\.: is a link, or no folder; fix:/);
  expect(await problemsOf(join(root, "way", "demo", "SKILL.md"))).toMatch(/is a link, or no folder/);
  expect(await problemsOf(join(root, "nowhere"))).toMatch(/there is no such file or folder/);
});

test.each<[string, (folder: string) => void, RegExp]>([
  ["a link to a file outside", (it) => symlinkSync("/etc/passwd", join(it, "x")), /^x: is not a regular file; fix:/],
  ["a link to a file within", (it) => symlinkSync("SKILL.md", join(it, "x")), /^x: is not a regular file/],
  ["a link to a folder", (it) => symlinkSync("..", join(it, "x")), /^x: is not a regular file/],
  ["a link to itself", (it) => symlinkSync("x", join(it, "x")), /^x: is not a regular file/],
  ["a link deeper down", (it) => symlinkSync("/etc", join(it, "scripts", "x")), /^scripts\/x: is not a regular file/],
  ["a pipe, which is not waited for", (it) => void execFileSync("mkfifo", [join(it, "x")]), /^x: is not a regular/],
  ["a file that anybody may write", (it) => chmodSync(join(it, "SKILL.md"), 0o646), /^SKILL\.md: anybody.*chmod/],
  ["a folder that anybody may write", (it) => chmodSync(join(it, "scripts"), 0o777), /^scripts: anybody may write/],
  ["the skill's folder that anybody may write", (it) => chmodSync(it, 0o777), /^\.: anybody may write it/],
  ["a file that is too large", (it) => large(join(it, "x"), MAX_FILE_BYTES + 1), /^x: is larger than 1048576 bytes/],
  ["a file of no real size", (it) => large(join(it, "x"), 2 ** 40), /^x: is larger than 1048576 bytes/],
  [
    "too much in all",
    (it) => [1, 2, 3, 4, 5].forEach((n) => void large(join(it, `f${n}`), MAX_FILE_BYTES)),
    /^\.: has more than 4194304 bytes in all/,
  ],
  [
    "too many files",
    (it) => many(MAX_FILES, (n) => writeFileSync(join(it, `f${n}`), "")),
    /^\.: has more than 64 files/,
  ],
  ["too many folders", (it) => many(65, (n) => mkdirSync(join(it, `f${n}`))), /^\.: has more than 64 files or 64 fold/],
  ["a file that lies too deep", (it) => writeFileSync(join(it, "a/b/c/e"), ""), /^$/],
  [
    "a folder that lies too deep",
    (it) => mkdirSync(join(it, "a/b/c/e/f"), { recursive: true }),
    /^a\/b\/c\/e\/f: lies deeper/,
  ],
  ["a name with a space", (it) => writeFileSync(join(it, "a b"), ""), /^a b: has a name of other characters/],
  ["a name like an option", (it) => writeFileSync(join(it, "-rf"), ""), /^-rf: has a name of other characters/],
  ["a name with a line feed", (it) => writeFileSync(join(it, "a\nb"), ""), /has a name of other characters/],
  ["a name like another way", (it) => writeFileSync(join(it, "..\\x"), ""), /has a name of other characters/],
  ["a name that looks like another", (it) => writeFileSync(join(it, "SKILL\u200b.md"), ""), /has a name of other char/],
  [
    "a name that is no text",
    (it) => writeFileSync(Buffer.concat([Buffer.from(`${it}/`), Buffer.from([0xff])]), ""),
    /has a name of other/,
  ],
  [
    "names that differ in case alone",
    (it) => writeFileSync(join(it, "skill.md"), ""),
    /^skill\.md: differs from `SKILL\.md`/,
  ],
  ["folders that differ in case alone", (it) => mkdirSync(join(it, "Scripts")), /^scripts: differs from `Scripts`/],
])("%s", async (_, spoil, expected) => {
  const folder = join(folderOf(FILES), "demo");
  spoil(folder);
  expect(await problemsOf(folder)).toMatch(expected);
});

test("a device is not opened", async ({ skip }) => {
  if (process.getuid?.() !== 0) skip("only root makes devices");
  const folder = join(folderOf(FILES), "demo");
  try {
    execFileSync("mknod", [join(folder, "x"), "c", "1", "5"], { stdio: "ignore" });
  } catch {
    skip("this computer lets nobody make devices");
  }
  expect(await problemsOf(folder)).toMatch(/^x: is not a regular file/);
});

test("several things that are wrong are all told", async () => {
  const folder = join(folderOf(FILES), "demo");
  symlinkSync("/etc/passwd", join(folder, "x"));
  chmodSync(join(folder, "scripts"), 0o777);
  expect((await problemsOf(folder)).split("\n")).toHaveLength(2);
});

test("what is a link by another name only is a file like any other", async () => {
  const root = folderOf(FILES);
  linkSync(join(root, "demo", "SKILL.md"), join(root, "demo", "twin"));
  expect((await filesOf(join(root, "demo"))).get("twin")?.content).toEqual(
    readFileSync(join(root, "demo", "SKILL.md")),
  );
});

function large(path: string, bytes: number): void {
  writeFileSync(path, "");
  chmodSync(path, 0o644);
  truncateSync(path, bytes);
}

function many(count: number, make: (n: number) => void): void {
  for (let n = 0; n < count; n += 1) make(n);
}
