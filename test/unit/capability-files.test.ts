import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { findAll } from "../../src/capability/find-text.ts";
import { workbench } from "../support/capability-context.ts";

const hash = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-files-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function file(content: string | Buffer, mode = 0o644): string {
  const path = join(scratch(), "file");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

describe("readFile", () => {
  test("gives text with its line range and the whole file's hash", async () => {
    await using bench = workbench();
    const path = file("one\ntwo\nthree\n");
    const { result, text } = await bench.call("readFile", { path });
    expect(result).toEqual({
      path,
      kind: "text",
      content: "one\ntwo\nthree\n",
      firstLine: 1,
      lastLine: 3,
      totalLines: 3,
      sizeBytes: 14,
      sha256: hash("one\ntwo\nthree\n"),
      truncated: false,
    });
    expect(text).toContain("lines 1-3 of 3");
    expect(text.endsWith("one\ntwo\nthree\n")).toBe(true);
  });

  test.each([
    [{ offset: 2, limit: 1 }, "two\n", 2, 2, "Read on with offset 3."],
    [{ offset: 2 }, "two\nthree", 2, 3, undefined],
    [{ offset: 0, limit: 1 }, "one\n", 1, 1, "Read on with offset 2."],
    [{ limit: 99 }, "one\ntwo\nthree", 1, 3, undefined],
    [{ offset: 9 }, "", 9, 8, undefined],
  ])("reads the lines of %o", async (range, content, firstLine, lastLine, hint) => {
    await using bench = workbench();
    const { result } = await bench.call("readFile", { path: file("one\ntwo\nthree"), ...range });
    expect(result).toMatchObject({ content, firstLine, lastLine, totalLines: 3 });
    expect(result.hint).toBe(hint);
  });

  test("an empty file has no lines", async () => {
    await using bench = workbench();
    const { result } = await bench.call("readFile", { path: file("") });
    expect(result).toMatchObject({ kind: "text", content: "", totalLines: 0, truncated: false, sha256: hash("") });
  });

  test("gives no more than the profile permits, in whole lines, and says where to go on", async () => {
    await using bench = workbench({ profile: { output: { maxBytes: 1_024 } } });
    const content = Array.from({ length: 100 }, (_, i) => `line ${String(i + 1).padStart(44, "0")}\n`).join("");
    const path = file(content);
    let all = "";
    for (let offset = 1; offset <= 100; ) {
      const { result } = await bench.call("readFile", { path, offset });
      expect(Buffer.byteLength(result.content)).toBeLessThanOrEqual(1_024);
      expect(result.content.endsWith("\n")).toBe(true);
      all += result.content;
      offset = result.lastLine + 1;
    }
    expect(all).toBe(content);
  });

  test("a line that is too long is cut, and said to be", async () => {
    await using bench = workbench({ profile: { output: { maxBytes: 1_024 } } });
    const { result } = await bench.call("readFile", { path: file(`short\n${"x".repeat(5_000)}\nlast\n`), offset: 2 });
    expect(result).toMatchObject({ content: "x".repeat(1_024), firstLine: 2, lastLine: 2, truncated: true });
    expect(result.hint).toContain("too long");
  });

  test("a picture comes as one, whatever its name", async () => {
    await using bench = workbench();
    const outcome = await bench.call("readFile", { path: file(PNG) });
    expect(outcome.pictures).toEqual([{ mimeType: "image/png", base64: PNG.toString("base64") }]);
    expect(outcome.result).toMatchObject({
      kind: "image",
      mimeType: "image/png",
      sizeBytes: PNG.length,
      truncated: false,
    });
    const bytes = await bench.call("readFile", { path: file(PNG), encoding: "base64" });
    expect(bytes.pictures).toBeUndefined();
    expect(bytes.result).toMatchObject({
      kind: "bytes",
      content: PNG.toString("base64"),
      firstByte: 0,
      truncated: false,
    });
  });

  test("other binary files are described, and read as bytes piece by piece", async () => {
    await using bench = workbench();
    const bytes = Buffer.from(Array.from({ length: 3_000 }, (_, i) => i % 256));
    const path = file(bytes);
    const { result } = await bench.call("readFile", { path });
    expect(result).toMatchObject({ kind: "binary", sizeBytes: 3_000, truncated: true });
    expect(result).not.toHaveProperty("content");
    const { result: part } = await bench.call("readFile", { path, encoding: "base64", offset: 1_000, limit: 500 });
    expect(part).toMatchObject({ kind: "bytes", firstByte: 1_000, truncated: true, sha256: hash(bytes) });
    expect(Buffer.from(part.content, "base64")).toEqual(bytes.subarray(1_000, 1_500));
  });

  test("text that is not UTF-8 is marked", async () => {
    await using bench = workbench();
    const { result } = await bench.call("readFile", { path: file(Buffer.from("caf\xe9\n", "latin1")) });
    expect(result).toMatchObject({ kind: "text", content: "caf\ufffd\n", lossy: true });
  });

  test("files larger than the profile permits, links and directories are refused", async () => {
    await using bench = workbench({ profile: { files: { maxReadBytes: 1_024 } } });
    const path = file("x".repeat(1_025));
    await expect(bench.call("readFile", { path })).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
    const link = join(scratch(), "link");
    symlinkSync(path, link);
    await expect(bench.call("readFile", { path: link })).rejects.toMatchObject({ code: "PATH_IS_LINK" });
    await expect(bench.call("readFile", { path: "/tmp" })).rejects.toMatchObject({ code: "NOT_A_FILE" });
  });

  test("sixteen million lines take no longer than a moment", async () => {
    await using bench = workbench();
    const path = file(Buffer.alloc(16_000_000, "\n"));
    const began = performance.now();
    const { result } = await bench.call("readFile", { path, offset: 15_999_999 });
    expect(result).toMatchObject({ content: "\n\n", totalLines: 16_000_000 });
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});

describe("writeFile", () => {
  test("creates with 644 and replaces with the mode that was", async () => {
    await using bench = workbench();
    const path = join(scratch(), "a/b/new.txt");
    const { result, facts } = await bench.call("writeFile", { path, content: "hé" });
    expect(result).toEqual({ path, bytes: 3, sha256: hash("hé"), mode: "0644", created: true });
    expect(facts).toEqual(result);
    chmodSync(path, 0o755);
    const { result: again } = await bench.call("writeFile", { path, content: "" });
    expect(again).toMatchObject({ bytes: 0, mode: "0755", created: false });
    expect(statSync(path).mode & 0o777).toBe(0o755);
    const { result: closed } = await bench.call("writeFile", { path, content: "x", mode: "600" });
    expect(closed.mode).toBe("0600");
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("the record says what was replaced, and of what is too large to be read how large it was", async () => {
    await using bench = workbench({ profile: { files: { maxReadBytes: 1_024 } } });
    const path = file("old");
    const { facts } = await bench.call("writeFile", { path, content: "new" });
    expect(facts).toMatchObject({ sha256: hash("new"), before: { bytes: 3, sha256: hash("old") } });
    writeFileSync(path, "x".repeat(1_025));
    await expect(bench.call("writeFile", { path, content: "y", ifHash: hash("new") })).rejects.toMatchObject({
      code: "FILE_TOO_LARGE",
    });
    expect(readFileSync(path, "utf8")).toHaveLength(1_025);
    const { facts: large } = await bench.call("writeFile", { path, content: "" });
    expect(large).toMatchObject({ sha256: hash(""), before: { bytes: 1_025 } });
    expect(large).not.toHaveProperty("before.sha256");
  });

  test("writes bytes given as base64", async () => {
    await using bench = workbench();
    const path = join(scratch(), "bytes");
    await bench.call("writeFile", { path, content: PNG.toString("base64"), encoding: "base64" });
    expect(readFileSync(path)).toEqual(PNG);
  });

  test("writes only over what the caller has seen", async () => {
    await using bench = workbench();
    const path = file("old");
    const changed = { code: "FILE_CHANGED" };
    await expect(bench.call("writeFile", { path, content: "new", ifHash: hash("other") })).rejects.toMatchObject(
      changed,
    );
    await expect(bench.call("writeFile", { path, content: "new", ifHash: "absent" })).rejects.toMatchObject(changed);
    await expect(
      bench.call("writeFile", { path: `${path}2`, content: "new", ifHash: hash("old") }),
    ).rejects.toMatchObject(changed);
    expect(readFileSync(path, "utf8")).toBe("old");
    await bench.call("writeFile", { path, content: "new", ifHash: hash("old") });
    await bench.call("writeFile", { path: `${path}2`, content: "new", ifHash: "absent" });
    expect([readFileSync(path, "utf8"), readFileSync(`${path}2`, "utf8")]).toEqual(["new", "new"]);
  });

  test("of two that replace the same content at once, one wins", async () => {
    await using bench = workbench();
    const path = file("old");
    const calls = ["a", "b", "c"].map((content) => bench.call("writeFile", { path, content, ifHash: hash("old") }));
    const settled = await Promise.allSettled(calls);
    expect(settled.map((it) => it.status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(readFileSync(path, "utf8")).toBe("a");
  });

  test("refuses more than the profile permits, and to write through a link", async () => {
    await using bench = workbench({ profile: { files: { maxWriteBytes: 1_024 } } });
    const path = file("old");
    await expect(bench.call("writeFile", { path, content: "x".repeat(1_025) })).rejects.toMatchObject({
      code: "FILE_TOO_LARGE",
    });
    const link = join(scratch(), "link");
    symlinkSync(path, link);
    await expect(bench.call("writeFile", { path: link, content: "x" })).rejects.toMatchObject({ code: "PATH_IS_LINK" });
    expect(readFileSync(path, "utf8")).toBe("old");
  });
});

describe("editFile", () => {
  const edit = (oldText: string, newText: string) => ({ oldText, newText });

  test("replaces exactly, keeps the mode and shows the diff", async () => {
    await using bench = workbench();
    const path = file("one\r\ntwo $& $1\r\nthree\r\n", 0o750);
    const edits = [edit("two $& $1\r\n", "zwei $& $$\r\n"), edit("zwei", "deux")];
    const before = { bytes: 23, sha256: hash("one\r\ntwo $& $1\r\nthree\r\n") };
    const { result, text, facts } = await bench.call("editFile", { path, edits });
    expect(facts).toMatchObject({ before, sha256: hash(readFileSync(path)) });
    expect(readFileSync(path, "utf8")).toBe("one\r\ndeux $& $$\r\nthree\r\n");
    expect(statSync(path).mode & 0o777).toBe(0o750);
    expect(result).toMatchObject({ path, replacements: 2, written: true, diffTruncated: false });
    expect(result.diff).toMatch(/^--- .*\n\+\+\+ .*\n@@ -1,3 \+1,3 @@\n/);
    expect(result.diff).toContain("-two $& $1\r\n+deux $& $$");
    expect(text).toContain("2 replacements, written");
  });

  test("a dry run shows the diff and writes nothing", async () => {
    await using bench = workbench();
    const path = file("one\n");
    const { result } = await bench.call("editFile", { path, edits: [edit("one", "two")], dryRun: true });
    expect(result).toMatchObject({ written: false, sha256: hash("two\n") });
    expect(result.diff).toContain("-one\n+two");
    expect(readFileSync(path, "utf8")).toBe("one\n");
  });

  test.each([
    ["none", [edit("missing", "x")], "edits[0].oldText does not occur"],
    ["several", [edit("a", "b")], "edits[0].oldText occurs 3 times"],
    ["overlapping", [edit("aa", "b")], "edits[0].oldText occurs 2 times"],
    ["after another", [edit("aaa", "x"), edit("aaa", "y")], "edits[1].oldText does not occur"],
  ])("%s: all or nothing, and how often it occurs", async (_, edits, message) => {
    await using bench = workbench();
    const path = file("aaa\n");
    await expect(bench.call("editFile", { path, edits })).rejects.toMatchObject({
      code: "EDIT_NO_MATCH",
      message: expect.stringContaining(message),
    });
    expect(readFileSync(path, "utf8")).toBe("aaa\n");
  });

  test("replaceAll replaces every one, from left to right", async () => {
    await using bench = workbench();
    const path = file("aaaaa b a");
    const { result } = await bench.call("editFile", { path, edits: [edit("aa", "x")], replaceAll: true });
    expect(readFileSync(path, "utf8")).toBe("xxa b a");
    expect(result.replacements).toBe(2);
    await expect(bench.call("editFile", { path, edits: [edit("zz", "x")], replaceAll: true })).rejects.toMatchObject({
      code: "EDIT_NO_MATCH",
    });
  });

  test("edits of one file at the same time are all made", async () => {
    await using bench = workbench();
    const path = file(Array.from({ length: 20 }, (_, i) => `<${i}>`).join("\n"));
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => bench.call("editFile", { path, edits: [edit(`<${i}>`, `(${i})`)] })),
    );
    expect(readFileSync(path, "utf8")).toBe(Array.from({ length: 20 }, (_, i) => `(${i})`).join("\n"));
  });

  test("a file that is not UTF-8 is left alone", async () => {
    await using bench = workbench();
    const path = file(Buffer.from([0x61, 0xff]));
    await expect(bench.call("editFile", { path, edits: [edit("a", "b")] })).rejects.toMatchObject({ code: "NOT_TEXT" });
  });

  test("a change too large for a diff is made and says so", async () => {
    await using bench = workbench();
    const path = file("x\n".repeat(60_000));
    const { result } = await bench.call("editFile", { path, edits: [edit("x\n", "y\n")], replaceAll: true });
    expect(result).toMatchObject({ replacements: 60_000, diffTruncated: true, written: true });
    expect(result.diff.length).toBeLessThan(100);
    const long = file(`${"a".repeat(100_000)}\n`);
    const { result: cut } = await bench.call("editFile", { path: long, edits: [edit("\n", "b\n")] });
    expect(cut).toMatchObject({ diffTruncated: true });
    expect(cut.diff.length).toBe(32_768);
  });

  test("text made to slow searching down does not", () => {
    const text = `b${"a".repeat(63_999)}`.repeat(64);
    const began = performance.now();
    expect(findAll(text, `b${"a".repeat(64_000)}`, 10)).toEqual([]);
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});

describe("listDirectory", () => {
  test("lists entries with their facts, hidden ones too, sorted, as deep as asked for", async () => {
    await using bench = workbench();
    const path = scratch();
    mkdirSync(join(path, "sub/deep"), { recursive: true });
    writeFileSync(join(path, "sub/deep/x"), "");
    writeFileSync(join(path, ".hidden"), "abc", { mode: 0o600 });
    symlinkSync("/etc/passwd", join(path, "link"));
    utimesSync(join(path, ".hidden"), 1_000_000_000, 1_000_000_000.5);
    const { result, text } = await bench.call("listDirectory", { path });
    expect(result.entries).toMatchObject([
      { name: ".hidden", kind: "file", sizeBytes: 3, mode: "0600", modified: "2001-09-09T01:46:40.500Z" },
      { name: "link", kind: "link", target: "/etc/passwd" },
      { name: "sub", kind: "directory" },
    ]);
    expect(result).toMatchObject({ path, truncated: false });
    expect(text).toContain("l 0777 11 link -> /etc/passwd");
    const { result: deep } = await bench.call("listDirectory", { path, depth: 3 });
    expect(deep.entries.map((it: { name: string }) => it.name)).toEqual([
      ".hidden",
      "link",
      "sub",
      "sub/deep",
      "sub/deep/x",
    ]);
  });

  test("hostile names cannot forge entries, and are printable in the text", async () => {
    await using bench = workbench();
    const path = scratch();
    const names = [
      Buffer.from("-rf"),
      Buffer.from("new\nline"),
      Buffer.from("\u001b[31mred"),
      Buffer.from("\u202egpj.exe"),
      Buffer.from(" lead"),
      Buffer.from([0x62, 0x61, 0x64, 0xff]),
      Buffer.from("x".repeat(255)),
    ];
    for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${path}/`), name]), "");
    const { result, text } = await bench.call("listDirectory", { path });
    expect(result.entries.map((it: { name: string }) => it.name).toSorted()).toEqual(names.map(String).toSorted());
    expect(result.entries.filter((it: { inexact?: boolean }) => it.inexact)).toMatchObject([{ name: "bad\ufffd" }]);
    expect(text.split("\n")).toHaveLength(names.length + 1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the point
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });

  test("is cut at the limit, and says so", async () => {
    await using bench = workbench();
    const path = scratch();
    for (let i = 0; i < 30; i++) writeFileSync(join(path, `f${String(i).padStart(2, "0")}`), "");
    const { result } = await bench.call("listDirectory", { path, limit: 10 });
    expect(result.entries.map((it: { name: string }) => it.name)).toEqual(
      Array.from({ length: 10 }, (_, i) => `f0${i}`),
    );
    expect(result.truncated).toBe(true);
  });

  test("an empty directory is empty; a link, a file and nothing are refused", async () => {
    await using bench = workbench();
    const path = scratch();
    expect((await bench.call("listDirectory", { path })).result).toMatchObject({ entries: [], truncated: false });
    symlinkSync("/etc", join(path, "link"));
    writeFileSync(join(path, "file"), "");
    const list = (name: string) => bench.call("listDirectory", { path: join(path, name) });
    await expect(list("link")).rejects.toMatchObject({ code: "PATH_IS_LINK" });
    await expect(list("file")).rejects.toMatchObject({ code: "NOT_A_DIRECTORY" });
    await expect(list("none")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});
