import { describe, expect, test } from "vitest";
import { z } from "zod";
import { CAPABILITIES, findCapability } from "../../src/capability/registry.ts";
import { GatewayError } from "../../src/errors.ts";
import { PRINCIPAL } from "../support/capability-context.ts";

/** Arguments that fit, for each tool. */
const GOOD: Record<string, Record<string, unknown>> = {
  exec: { argv: ["true"] },
  shell: { script: "true" },
  readProcess: { processId: "proc-1" },
  writeProcess: { processId: "proc-1", stdin: "x" },
  stopProcess: { processId: "proc-1" },
  listProcesses: {},
  readFile: { path: "a.txt" },
  writeFile: { path: "a.txt", content: "x" },
  editFile: { path: "a.txt", edits: [{ oldText: "a", newText: "b" }] },
  listDirectory: {},
  searchFiles: { pattern: "x" },
  installPackage: { ecosystem: "npm", packages: [{ name: "left-pad" }] },
  importFiles: { mount: "app" },
  exportFiles: { path: "a", mount: "app", to: "." },
  openSession: {},
  closeSession: { sessionId: "ses-1" },
  listSessions: {},
  sessionStatus: {},
  resetSession: {},
  snapshotSession: { snapshot: "a" },
  restoreSession: { snapshot: "a" },
  forkSession: {},
  deleteSnapshot: { snapshot: "a" },
  exposePort: { port: 8000 },
  explainPolicy: { tool: "exec" },
};

const LONG = "A".repeat(40_000_000);
const SURROGATE = "a\ud800b";
const TEXT = "must be valid Unicode";

/** Each with the field that the message must name, and what it says. */
const BAD: Record<string, readonly [change: Record<string, unknown>, field: string, message?: string][]> = {
  exec: [
    [{ argv: undefined }, "argv"],
    [{ argv: "ls -l" }, "argv"],
    [{ argv: [] }, "argv"],
    [{ argv: [""] }, "argv", "must begin with a program's name"],
    [{ argv: ["ls", 1] }, "argv[1]"],
    [{ argv: ["ls", "a\0b"] }, "argv[1]", "must not contain NUL"],
    [{ argv: ["ls", SURROGATE] }, "argv[1]", TEXT],
    [{ argv: ["ls", LONG] }, "argv[1]"],
    [{ argv: Array.from({ length: 257 }, () => "x") }, "argv"],
    [{ argv: ["echo", "é".repeat(65_501)] }, "argv", "131000 bytes"],
    [{ cwd: 1 }, "cwd"],
    [{ cwd: "" }, "cwd"],
    [{ cwd: "a\0" }, "cwd"],
    [{ env: { "A-B": "x" } }, "env"],
    [{ env: { GLOVEBOX_RUN: "x" } }, "env"],
    [{ env: { A: 1 } }, "env.A"],
    [{ env: { A: "\0" } }, "env.A", "must not contain NUL"],
    [{ env: [] }, "env"],
    [{ env: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`V${i}`, ""])) }, "env", "at most 64"],
    [{ stdin: SURROGATE }, "stdin", TEXT],
    [{ stdin: LONG }, "stdin"],
    [{ timeoutMs: 99 }, "timeoutMs"],
    [{ timeoutMs: 1e12 }, "timeoutMs"],
    [{ timeoutMs: 1000.5 }, "timeoutMs"],
    [{ timeoutMs: "1000" }, "timeoutMs"],
    [{ background: "yes" }, "background"],
    [{ terminal: { columns: 80, rows: 24 } }, "terminal"],
    [{ yieldMs: -1 }, "yieldMs"],
    [{ maxOutputBytes: 1 }, "maxOutputBytes"],
    [{ sessionId: "" }, "sessionId", "must be a session id"],
    [{ sessionId: "../../etc" }, "sessionId", "must be a session id"],
    [{ sessionId: null }, "sessionId"],
  ],
  shell: [
    [{ script: undefined }, "script"],
    [{ script: "" }, "script"],
    [{ script: ["ls"] }, "script"],
    [{ script: "echo \0" }, "script", "must not contain NUL"],
    [{ script: SURROGATE }, "script", TEXT],
    [{ script: LONG }, "script"],
    [{ script: "é".repeat(65_501) }, "script", "131000 bytes"],
    [{ cwd: {} }, "cwd"],
  ],
  readProcess: [
    [{ processId: undefined }, "processId"],
    [{ processId: 7 }, "processId"],
    [{ processId: "1; rm" }, "processId", "must be a process id"],
    [{ processId: LONG }, "processId"],
    [{ cursor: "5" }, "cursor", "must be a cursor"],
    [{ cursor: "-1:0" }, "cursor", "must be a cursor"],
    [{ cursor: "9999999999999999:0" }, "cursor"],
    [{ yieldMs: 1e9 }, "yieldMs"],
    [{ maxOutputBytes: "all" }, "maxOutputBytes"],
  ],
  writeProcess: [
    [{ stdin: undefined }, "stdin"],
    [{ stdin: SURROGATE }, "stdin", TEXT],
    [{ stdin: LONG }, "stdin"],
    [{ close: 1 }, "close"],
  ],
  stopProcess: [
    [{ signal: "SIGSTOP" }, "signal"],
    [{ signal: 9 }, "signal"],
  ],
  listProcesses: [[{ sessionId: LONG }, "sessionId"]],
  readFile: [
    [{ path: undefined }, "path"],
    [{ path: "" }, "path"],
    [{ path: 7 }, "path"],
    [{ path: "/workspace/a\0b" }, "path", "must not contain NUL"],
    [{ path: `/workspace/${SURROGATE}` }, "path", TEXT],
    [{ path: LONG }, "path"],
    [{ path: `/${"a/".repeat(3_000)}` }, "path"],
    [{ path: `/workspace/${"a".repeat(256)}` }, "path", "255 bytes between slashes"],
    [{ path: `/workspace/${"é".repeat(128)}` }, "path", "255 bytes between slashes"],
    [{ path: "a/".repeat(2_045) }, "path", "4095 bytes"],
    [{ offset: -1 }, "offset"],
    [{ limit: 0 }, "limit"],
    [{ encoding: "latin1" }, "encoding"],
  ],
  writeFile: [
    [{ path: "a\0" }, "path"],
    [{ content: undefined }, "content"],
    [{ content: 5 }, "content"],
    [{ content: SURROGATE }, "content", TEXT],
    [{ content: LONG }, "content"],
    [{ content: "not base64!", encoding: "base64" }, "content", "is not base64"],
    [{ content: "YQ", encoding: "base64" }, "content", "is not base64"],
    [{ content: "YR==", encoding: "base64" }, "content", "is not base64"],
    [{ content: "YWJj\nZGVm", encoding: "base64" }, "content", "is not base64"],
    [{ mode: 420 }, "mode"],
    [{ mode: "4755" }, "mode", "three octal digits"],
    [{ mode: "rwx" }, "mode", "three octal digits"],
    [{ createParents: "yes" }, "createParents"],
    [{ ifHash: "abc" }, "ifHash"],
    [{ ifHash: "A".repeat(64) }, "ifHash"],
  ],
  editFile: [
    [{ path: `${"a".repeat(300)}` }, "path"],
    [{ edits: undefined }, "edits"],
    [{ edits: [] }, "edits"],
    [{ edits: { oldText: "a", newText: "b" } }, "edits"],
    [{ edits: [{ oldText: "", newText: "b" }] }, "edits[0].oldText"],
    [{ edits: [{ oldText: "a" }] }, "edits[0].newText"],
    [{ edits: [{ oldText: "a", newText: SURROGATE }] }, "edits[0].newText", TEXT],
    [{ edits: [{ oldText: LONG, newText: "" }] }, "edits[0].oldText"],
    [{ edits: [{ oldText: "a", newText: "b", replaceall: true }] }, "edits[0]", "replaceall"],
    [{ edits: Array.from({ length: 65 }, () => ({ oldText: "a", newText: "b" })) }, "edits"],
    [{ dryRun: 0 }, "dryRun"],
  ],
  listDirectory: [
    [{ path: "" }, "path"],
    [{ path: "a\0b" }, "path"],
    [{ depth: 0 }, "depth"],
    [{ depth: 17 }, "depth"],
    [{ depth: "2" }, "depth"],
    [{ limit: 1e9 }, "limit"],
  ],
  searchFiles: [
    [{ pattern: undefined }, "pattern"],
    [{ pattern: "" }, "pattern"],
    [{ pattern: "a\0" }, "pattern", "must not contain NUL"],
    [{ pattern: SURROGATE }, "pattern", TEXT],
    [{ pattern: LONG }, "pattern"],
    [{ path: "\0" }, "path"],
    [{ glob: ["*.ts"] }, "glob"],
    [{ glob: "\0" }, "glob"],
    [{ limit: 0 }, "limit"],
    [{ literal: "no" }, "literal"],
  ],
  installPackage: [
    [{ ecosystem: undefined }, "ecosystem"],
    [{ ecosystem: "gem" }, "ecosystem"],
    [{ packages: undefined }, "packages"],
    [{ packages: [] }, "packages"],
    [{ packages: ["left-pad"] }, "packages[0]"],
    [{ packages: Array.from({ length: 65 }, (_, i) => ({ name: `a${i}` })) }, "packages"],
    [{ packages: [{ name: "" }] }, "packages[0].name"],
    [{ packages: [{ name: SURROGATE }] }, "packages[0].name", TEXT],
    [{ packages: [{ name: "a\0" }] }, "packages[0].name", "must not contain NUL"],
    [{ packages: [{ name: LONG }] }, "packages[0].name"],
    [{ packages: [{ name: "--global" }] }, "packages[0].name", "is no name of a package of npm"],
    [{ packages: [{ name: "a" }, { name: "a" }] }, "packages[1].name", "is named twice"],
    [{ packages: [{ name: "a", version: "^1.0.0" }] }, "packages[0].version", "is no exact version"],
    [{ packages: [{ name: "a", version: LONG }] }, "packages[0].version"],
    [{ packages: [{ name: "a", range: "1" }] }, "packages[0]"],
    [{ directory: "a\0" }, "directory"],
    [{ global: "yes" }, "global"],
    [{ timeoutMs: 99 }, "timeoutMs"],
  ],
  importFiles: [
    [{ mount: undefined }, "mount"],
    [{ mount: "" }, "mount"],
    [{ mount: "../x" }, "mount"],
    [{ mount: "App" }, "mount"],
    [{ path: "a\0" }, "path"],
    [{ path: SURROGATE }, "path", TEXT],
    [{ to: "\0" }, "to"],
    [{ to: "" }, "to"],
    [{ include: [""] }, "include"],
    [{ include: ["!a"] }, "include"],
    [{ include: "*" }, "include"],
    [{ gitignore: "yes" }, "gitignore"],
  ],
  exportFiles: [
    [{ path: undefined }, "path"],
    [{ mount: "a/b" }, "mount"],
    [{ to: undefined }, "to"],
    [{ to: "a\0b" }, "to"],
    [{ overwrite: 1 }, "overwrite"],
    [{ dryRun: "no" }, "dryRun"],
  ],
  openSession: [
    [{ name: "" }, "name"],
    [{ name: "a\u001b[31m" }, "name"],
    [{ name: LONG }, "name"],
    [{ name: 1 }, "name"],
  ],
  closeSession: [
    [{ sessionId: undefined }, "sessionId"],
    [{ sessionId: LONG }, "sessionId"],
  ],
  listSessions: [],
  sessionStatus: [[{ sessionId: 1 }, "sessionId"]],
  resetSession: [[{ sessionId: ["ses-1"] }, "sessionId"]],
  snapshotSession: [
    [{ snapshot: undefined }, "snapshot"],
    [{ snapshot: "" }, "snapshot"],
    [{ snapshot: "../a" }, "snapshot"],
    [{ snapshot: ".a" }, "snapshot"],
    [{ snapshot: "a/b" }, "snapshot"],
    [{ snapshot: "a\0" }, "snapshot"],
    [{ snapshot: LONG }, "snapshot"],
    [{ sessionId: 1 }, "sessionId"],
  ],
  restoreSession: [
    [{ snapshot: undefined }, "snapshot"],
    [{ snapshot: "a b" }, "snapshot"],
    [{ sessionId: LONG }, "sessionId"],
  ],
  forkSession: [
    [{ snapshot: "" }, "snapshot"],
    [{ name: "a\u001b[31m" }, "name"],
    [{ sessionId: ["ses-1"] }, "sessionId"],
  ],
  deleteSnapshot: [
    [{ snapshot: undefined }, "snapshot"],
    [{ snapshot: ".." }, "snapshot"],
  ],
  exposePort: [
    [{ port: undefined }, "port"],
    [{ port: 0 }, "port"],
    [{ port: 65_536 }, "port"],
    [{ port: 80.5 }, "port"],
    [{ port: "8000" }, "port"],
    [{ close: "yes" }, "close"],
    [{ sessionId: "../x" }, "sessionId"],
  ],
  explainPolicy: [
    [{ tool: undefined }, "tool"],
    [{ tool: "" }, "tool"],
    [{ tool: LONG }, "tool"],
    [{ tool: "a\0" }, "tool"],
    [{ arguments: [] }, "arguments"],
    [{ arguments: "{}" }, "arguments"],
    [{ arguments: nested(200_000) }, "arguments", "nested too deeply"],
  ],
};

function nested(depth: number): Record<string, unknown> {
  let value: Record<string, unknown> = {};
  for (let i = 0; i < depth; i++) value = { a: value };
  return value;
}

/** What the spine would tell of these arguments; `undefined` when they fit. */
function problemOf(tool: string, args: unknown): string | undefined {
  const capability = findCapability(tool);
  if (!capability) throw new Error(`no tool ${tool}`);
  const parsed = capability.input.safeParse(args);
  if (!parsed.success) return z.prettifyError(parsed.error);
  try {
    capability.describe(parsed.data, PRINCIPAL);
    return undefined;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "INVALID_ARGUMENTS") return error.message;
    throw error;
  }
}

test("the tables have every tool", () => {
  const names = CAPABILITIES.map((it) => it.name);
  expect(Object.keys(GOOD)).toEqual(names);
  expect(Object.keys(BAD)).toEqual(names);
});

describe.each(Object.keys(GOOD))("%s", (tool) => {
  const good = GOOD[tool] ?? {};

  test("takes arguments that fit", () => {
    expect(problemOf(tool, good)).toBeUndefined();
  });

  test("refuses what is no object", () => {
    for (const args of [null, "x", 7, [], true]) expect(problemOf(tool, args)).toMatch(/Invalid input/);
  });

  test("refuses an unknown key and names it", () => {
    expect(problemOf(tool, { ...good, misspelt: 1 })).toContain('"misspelt"');
  });

  test("refuses each bad argument and names it", () => {
    for (const [change, field, message] of BAD[tool] ?? []) {
      const problem = problemOf(tool, { ...good, ...change });
      expect(problem, `${tool} ${field}`).toBeDefined();
      expect(problem).toMatch(new RegExp(`(→ at |^)${RegExp.escape(field)}`, "m"));
      if (message !== undefined) expect(problem).toContain(message);
      expect(problem?.length).toBeLessThan(2_000);
    }
  });
});

test("`__proto__` changes nothing", () => {
  const args = JSON.parse('{"argv":["true"],"__proto__":{"polluted":1},"env":{"__proto__":"x"}}');
  const capability = findCapability("exec");
  const parsed = capability?.input.safeParse(args);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
  if (parsed?.success) expect(Object.keys((parsed.data as { env: object }).env)).toEqual([]);
});
