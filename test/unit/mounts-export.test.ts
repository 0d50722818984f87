import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { chmodSync, lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TreeEntry } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { workbench } from "../support/capability-context.ts";
import { localContainer } from "../support/local-container.ts";
import { contents, filesOf, fill, scratch } from "../support/mounts.ts";

const sha256 = (content: string) => hash("sha256", content);

type Files = Readonly<Record<string, string | Buffer>>;

/** A mount `app` that may be written, and a sandbox beside it. */
function stand(inBox: Files, onHost: Files = {}, mount: object = {}, exportTree?: () => AsyncGenerator<TreeEntry>) {
  const directory = scratch();
  const [host, box] = [join(directory, "host"), join(directory, "box")];
  fill(directory, { "host/": "", "box/": "" });
  fill(box, inBox);
  fill(host, onHost);
  const container = { ...localContainer(), ...(exportTree && { exportTree }) };
  const bench = workbench({ container, profile: { mounts: [{ name: "app", host, mode: "rw", ...mount }] } });
  const exportFiles = (args: object = {}) => bench.call("exportFiles", { mount: "app", path: box, to: ".", ...args });
  return { host, box, bench, exportFiles };
}

test("what is new is written with its mode, and nothing else is touched", async () => {
  const { host, exportFiles } = stand(
    { "a.txt": "a", "src/run*": "#!", "empty/": "", "deep/er/b": "b" },
    { other: "o" },
  );
  const { result, text } = await exportFiles();
  expect(contents(host)).toEqual({ "a.txt": "a", "src/run*": "#!", "empty/": "", "deep/er/b": "b", other: "o" });
  expect(result).toMatchObject({ written: true, files: 3, new: 3, changed: 0, same: 0, diff: "", skipped: {} });
  expect(text + JSON.stringify(result)).not.toContain(host);
  expect(lstatSync(join(host, "a.txt")).mode & 0o7777).toBe(0o644);
});

test("nothing is written when a file would change, unless overwrite says so; the diff is shown either way [G22]", async () => {
  const { host, exportFiles } = stand({ a: "one\ntwo\n", b: "same", c: "new" }, { a: "one\n", b: "same" });
  chmodSync(join(host, "a"), 0o600);
  const before = contents(host);
  const asked = await exportFiles();
  expect(asked.result).toMatchObject({ written: false, new: 1, changed: 1, same: 1 });
  expect(asked.result.diff).toContain("+two");
  expect(asked.text).toContain("overwrite");
  expect(contents(host)).toEqual(before);
  const dry = await exportFiles({ dryRun: true, overwrite: true });
  expect(dry.result).toMatchObject({ written: false, changed: 1, sha256: asked.result.sha256 });
  expect(contents(host)).toEqual(before);
  const done = await exportFiles({ overwrite: true });
  expect(done.result).toMatchObject({
    written: true,
    new: 1,
    changed: 1,
    same: 1,
    states: [
      { path: "a", state: "changed" },
      { path: "c", state: "new" },
    ],
  });
  expect(done.facts).toMatchObject({
    changes: [
      {
        path: "a",
        state: "changed",
        bytes: 8,
        sha256: sha256("one\ntwo\n"),
        before: { bytes: 4, sha256: sha256("one\n") },
      },
      { path: "c", state: "new", sha256: sha256("new") },
    ],
  });
  expect(contents(host)).toEqual({ a: "one\ntwo\n", b: "same", c: "new" });
  expect(lstatSync(join(host, "a")).mode & 0o7777).toBe(0o600);
});

test("a single file goes under the name it is given", async () => {
  const { host, box, exportFiles } = stand({ x: "x" });
  await exportFiles({ path: join(box, "x"), to: "new/y" });
  expect(contents(host)).toEqual({ "new/y": "x" });
  await expect(exportFiles({ path: join(box, "x"), to: "." })).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  await exportFiles({ path: join(box, "x"), to: "../../../up" });
  expect(contents(host)).toEqual({ "new/y": "x", up: "x" });
});

const REFUSED = [
  ".git/hooks/pre-commit",
  ".GIT/config",
  ".Git./x",
  ".git /x",
  "sub/.git/config",
  ".g\u200cit/x",
  ".vscode/tasks.json",
  ".envrc",
  ".npmrc",
  ".bashrc",
  ".zshenv",
  ".husky/pre-commit",
  ".idea/x",
  ".exrc",
  ".claude/settings.json",
  ".mcp.json",
  "x.desktop",
  ".ssh/authorized_keys",
  "sub/.env",
  ".yarnrc.yml",
  ".pnpmfile.cjs",
  "git~1/config",
  "app.code-workspace",
  ".glovebox-x",
  "two\nlines",
  "esc\u001b[31m",
  "\u202egnp.exe",
  "back\\slash",
  ".ＧＩＴ/x",
];

test("what a program of the host would obey, and what is not what it looks like, is not written [G22]", async () => {
  const fine = ["Makefile", ".gitignore", "github/x", "Grüße 🧊.txt", "-rf", "$HOME", "a b", "..twice.."];
  const { host, exportFiles } = stand(Object.fromEntries([...REFUSED, ...fine].map((it) => [it, "x"])));
  const { result } = await exportFiles();
  expect(filesOf(host)).toEqual(fine.toSorted());
  expect(result.skipped["sensitive"]).toBeGreaterThan(15);
  expect(result.skipped["name"]).toBe(7);
});

test.each(REFUSED)("the path %j cannot be named as the place either", async (to) => {
  const { host, box, exportFiles } = stand({ f: "x" });
  expect((await exportFiles({ path: join(box, "f"), to })).result).toMatchObject({ new: 0, files: 0 });
  expect(contents(host)).toEqual({});
});

test("the profile's patterns hold, and can allow what is refused otherwise", async () => {
  const mount = { allowSensitive: [".vscode"], exclude: ["dist"], include: ["src", ".vscode"] };
  const { host, exportFiles } = stand(
    { "src/a": "a", "src/dist/b": "b", ".vscode/tasks.json": "t", "lib/c": "c", "lib/d/": "" },
    {},
    mount,
  );
  await exportFiles();
  expect(Object.keys(contents(host)).toSorted()).toEqual([".vscode/tasks.json", "src/a"]);
});

test("no link is made, none of the host's is followed, and what is no file is left alone", async () => {
  const outside = scratch();
  const { host, box, exportFiles } = stand(
    { "d/f": "f", file: "x", dir: "no directory", pipe: "x", "l/i/n": "x" },
    { "dir/kept": "k" },
  );
  symlinkSync("/etc/passwd", join(box, "link"));
  symlinkSync(outside, join(host, "d"));
  symlinkSync(outside, join(host, "l"));
  symlinkSync(join(outside, "made"), join(host, "file"));
  execFileSync("mkfifo", [join(host, "pipe")]);
  const { result } = await exportFiles({ overwrite: true }).catch((error: unknown) => ({ result: error }) as never);
  expect(result).toMatchObject({ skipped: { link: 1, taken: 8 }, files: 0 });
  expect(readdirSync(outside)).toEqual([]);
  expect(readFileSync(join(host, "dir", "kept"), "utf8")).toBe("k");
});

test("a mount that is for import only is not written", async () => {
  const { exportFiles } = stand({ a: "a" }, {}, { mode: "ro" });
  await expect(exportFiles()).rejects.toMatchObject({ code: "MOUNT_READ_ONLY" });
});

function file(name: string, content: string | Buffer): TreeEntry {
  const bytes = Buffer.from(content);
  return { kind: "file", name, executable: true, sizeBytes: bytes.length, content: [bytes] };
}

test.each([
  ["the machine is lost", () => new GatewayError("MACHINE_LOST")],
  ["the caller gives up", () => new Error("enough")],
])("when %s in the middle, the host is as it was", async (_name, reason) => {
  const error = reason();
  const { host, exportFiles } = stand({}, { a: "old" }, {}, async function* () {
    yield { kind: "directory", name: "" };
    yield file("a", "new");
    yield file("b", Buffer.alloc(1_000_000));
    throw error;
  });
  await expect(exportFiles({ overwrite: true })).rejects.toBe(error);
  expect(contents(host)).toEqual({ a: "old" });
});

test("what appears or changes on the host meanwhile is not overwritten", async () => {
  const stands = { appeared: {}, changed: { a: "old" } };
  for (const [name, onHost] of Object.entries(stands)) {
    const made = stand({}, onHost, {}, async function* () {
      yield file("a", "from the sandbox");
      // So many are compared together.
      for (let index = 1; index < 16; index += 1) yield file(`f${index}`, "x");
      writeFileSync(join(made.host, "a"), "meanwhile");
      yield file("b", "b");
    });
    await expect(made.exportFiles({ overwrite: name === "changed" }), name).rejects.toMatchObject({
      code: "FILE_CHANGED",
    });
    expect(contents(made.host)["a"]).toBe("meanwhile");
    expect(readdirSync(made.host).filter((it) => it.startsWith(".glovebox"))).toEqual([]);
  }
});

test("diffs are bounded, and only of text", async () => {
  const lines = (word: string) => Array.from({ length: 900 }, (_, it) => `${word} ${it}\n`).join("");
  const both = (word: string) => ({
    "a.txt": lines(word),
    "b.txt": lines(word),
    "c.bin": Buffer.from([0, word.length]),
  });
  const { exportFiles } = stand(both("new"), both("older"));
  const { result } = await exportFiles({ overwrite: true });
  expect(result).toMatchObject({ changed: 3, diffTruncated: true });
  expect(result.diff.length).toBeLessThan(34_000);
  expect(result.diff).not.toContain("c.bin");
});

test("10 000 small files are written, and written again as the same", async () => {
  const files = Object.fromEntries(Array.from({ length: 10_000 }, (_, it) => [`d${it % 100}/f${it}`, `${it}`]));
  const { host, exportFiles } = stand(files);
  expect((await exportFiles()).result).toMatchObject({ written: true, new: 10_000 });
  expect(contents(host)).toEqual(files);
  expect((await exportFiles()).result).toMatchObject({ written: true, same: 10_000 });
});
