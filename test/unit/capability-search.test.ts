import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Container } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { workbench } from "../support/capability-context.ts";
import { type LocalContainer, localContainer } from "../support/local-container.ts";

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-search-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What rg 13 and 14 write, line by line. */
const begin = (path: object) => JSON.stringify({ type: "begin", data: { path } });
const match = (path: object, lines: object, line_number: number, ...starts: number[]) => {
  const submatches = starts.map((start) => ({ match: { text: "x" }, start, end: start + 1 }));
  return JSON.stringify({ type: "match", data: { path, lines, line_number, absolute_offset: 0, submatches } });
};
const SUMMARY = JSON.stringify({ data: { stats: { matches: 1 } }, type: "summary" });

/** A container whose rg answers as recorded; everything else is real. */
function answering(stdout: readonly string[], { stderr = "", code = 0, last = "" } = {}): LocalContainer {
  const local = localContainer();
  const directory = scratch();
  writeFileSync(join(directory, "out"), stdout.map((line) => `${line}\n`).join(""));
  writeFileSync(join(directory, "err"), stderr);
  const script = `cat out; cat err >&2; ${last} exit ${code}`;
  return {
    ...local,
    run: (spec, signal) => {
      local.runs.push(spec);
      return local.run({ ...spec, argv: ["/bin/sh", "-c", script], cwd: directory }, signal);
    },
  };
}

async function search(container: Container, args: object, profile: object = {}) {
  await using bench = workbench({ container, profile });
  return await bench.call("searchFiles", { path: scratch(), pattern: "x", ...args });
}

describe("searchFiles", () => {
  test("gives matching lines with their numbers", async () => {
    const path = { text: "/workspace/a.py" };
    const container = answering([
      begin(path),
      match(path, { text: "x = 1\r\n" }, 3, 0),
      match(path, { text: "\tx\u001b[31m\n" }, 40, 1),
      SUMMARY,
    ]);
    const { result, text } = await search(container, {});
    expect(result).toMatchObject({
      matches: [
        { path: "/workspace/a.py", line: 3, text: "x = 1" },
        { path: "/workspace/a.py", line: 40, text: "\tx\u001b[31m" },
      ],
      truncated: false,
    });
    expect(text).toBe("2 matches\n/workspace/a.py:3: x = 1\n/workspace/a.py:40: \\tx\ufffd[31m");
  });

  test("nothing found is an empty result", async () => {
    const { result, text } = await search(answering([SUMMARY], { code: 1 }), {});
    expect(result).toMatchObject({ matches: [], truncated: false });
    expect(text).toBe("no matches");
  });

  test("takes bytes that are not UTF-8 as what they are", async () => {
    const path = { bytes: Buffer.from("/w/bad\xff.py", "latin1").toString("base64") };
    const lines = { bytes: Buffer.from("x caf\xe9\n", "latin1").toString("base64") };
    const { result } = await search(answering([match(path, lines, 1, 0), SUMMARY]), {});
    expect(result.matches).toEqual([{ path: "/w/bad\ufffd.py", line: 1, text: "x caf\ufffd", inexact: true }]);
  });

  test("cuts a long line around its match", async () => {
    const line = `${"é".repeat(3_000)}x${"z".repeat(3_000)}\n`;
    const container = answering([match({ text: "/w/a" }, { text: line }, 1, 6_000), SUMMARY]);
    const { result } = await search(container, {});
    expect(result.matches[0].text).toBe(`…${"é".repeat(100)}x${"z".repeat(299)}…`);
  });

  test("leaves out a line that is out of all proportion, and says so", async () => {
    const container = answering([
      match({ text: "/w/a" }, { text: "y".repeat(1_100_000) }, 1, 0),
      match({ text: "/w/b" }, { text: "x" }, 2, 0),
      SUMMARY,
    ]);
    const { result } = await search(container, {});
    expect(result.matches).toEqual([{ path: "/w/b", line: 2, text: "x" }]);
    expect(result.problem).toContain("Matches in 1 very long lines");
  });

  test("stops at the limit, also when rg would go on", async () => {
    const lines = Array.from({ length: 50 }, (_, i) => match({ text: "/w/a" }, { text: "x" }, i + 1, 0));
    const { result } = await search(answering(lines, { last: "sleep 600;" }), { limit: 10 });
    expect(result.matches).toHaveLength(10);
    expect(result).toMatchObject({ truncated: true });
  });

  test("stops when its time is over, with what was found", async () => {
    const lines = [match({ text: "/w/a" }, { text: "x" }, 1, 0)];
    const { result } = await search(answering(lines, { last: "sleep 600;" }), {}, { timeouts: { yieldMs: 1_000 } });
    expect(result.matches).toHaveLength(1);
    expect(result).toMatchObject({ truncated: true, problem: expect.stringContaining("time") });
  });

  test("stops when the call is cancelled", async () => {
    const container = answering([], { last: "sleep 600;" });
    await using bench = workbench({ container });
    const caller = new AbortController();
    const searching = bench.call("searchFiles", { path: scratch(), pattern: "x" }, caller.signal);
    await expect.poll(() => container.runs.length).toBeGreaterThan(0);
    caller.abort(new GatewayError("CANCELLED"));
    await expect(searching).rejects.toMatchObject({ code: "CANCELLED" });
  });

  test.each([
    ["regex parse error:\n    (\n    ^\nerror: unclosed group", "PATTERN_INVALID", "pattern: regex parse error"],
    ["error parsing glob '[': unclosed character class; missing ']'", "INVALID_ARGUMENTS", "glob: error parsing glob"],
    ["the literal '\"\\n\"' is not allowed in a regex", "PATTERN_INVALID", "pattern: the literal"],
  ])("names what is wrong: %s", async (stderr, code, message) => {
    const failing = search(answering([], { stderr: `${stderr}\n`, code: 2 }), {});
    await expect(failing).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test("files that could not be read are mentioned", async () => {
    const { result } = await search(answering([SUMMARY], { code: 2 }), {});
    expect(result).toMatchObject({ matches: [], problem: "Some files could not be read." });
  });

  test("an answer that is not rg's is refused", async () => {
    for (const line of ["hello", "{}", '{"type":"match","data":{}}', "[]"]) {
      await expect(search(answering([line, SUMMARY]), {})).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
    }
    await expect(search(answering([]), {})).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
  });

  test("hands every argument over so that it can't be an option or expanded", async () => {
    const container = answering([SUMMARY]);
    const path = scratch();
    const args = { path, pattern: "--files", glob: "-x", literal: true, ignoreCase: true, all: true };
    await search(container, args);
    expect(container.runs[0]).toMatchObject({
      argv: [
        "rg",
        "--json",
        "--no-config",
        "--no-follow",
        "--no-messages",
        "--sort=path",
        "--fixed-strings",
        "--ignore-case",
        "--hidden",
        "--no-ignore",
        "--glob=-x",
        "--regexp=--files",
        "--",
        path,
      ],
      env: { PATH: expect.not.stringContaining("home") },
      stdin: false,
    });
  });

  test("a link is refused; an image without rg is said to have none", async () => {
    await using bench = workbench();
    const directory = scratch();
    symlinkSync("/etc", join(directory, "link"));
    await expect(bench.call("searchFiles", { path: join(directory, "link"), pattern: "x" })).rejects.toMatchObject({
      code: "PATH_IS_LINK",
    });
    const bare: Container = {
      ...localContainer(),
      run: () => Promise.reject(new GatewayError("PROGRAM_NOT_FOUND")),
    };
    await expect(search(bare, {})).rejects.toMatchObject({
      code: "PROGRAM_NOT_FOUND",
      message: expect.stringContaining("`rg`"),
    });
  });
});
