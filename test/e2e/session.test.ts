import { release } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  auditRecords,
  connect,
  machinePids,
  processGone,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";

/** One gateway and one sandbox for the tests of this file: a boot takes seconds. */
let data: TestData;
let agent: TestClient;

beforeAll(async () => {
  data = testData();
  agent = await connect(data);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  try {
    expect(machinePids(data)).toEqual([]);
  } finally {
    data?.[Symbol.dispose]();
  }
});

const python = (code: string, more: object = {}) => agent.call("exec", { argv: ["python3", "-c", code], ...more });

describe("before a sandbox is needed", () => {
  test("initialize answers before anything is prepared, with instructions and tools that suffice", async () => {
    await using other = await connect(data);
    expect(machinePids(data)).toEqual([]);
    expect(other.client.getInstructions()).toContain("DENIED");
    const { tools } = await other.client.listTools();
    expect(tools.map((it) => it.name)).toEqual(
      expect.arrayContaining(["exec", "shell", "readFile", "writeFile", "editFile", "sessionStatus", "explainPolicy"]),
    );
    for (const tool of tools)
      expect(tool).toMatchObject({ inputSchema: { type: "object" }, outputSchema: { type: "object" } });
  });

  test("a denied or invalid call opens no session and leaves a record [G3] [G4]", async () => {
    const denied = await agent.call("writeFile", { path: "/etc/passwd", content: "x" });
    expect(denied.isError).toBe(true);
    expect(denied.text).toMatch(/^DENIED by policy\. Nothing was executed\./);
    expect(denied.text).toMatch(/\.cedar#/);
    const unknown = await agent.call("exec", { argv: ["true"], privileged: true });
    expect(unknown.text).toMatch(/^INVALID_ARGUMENTS: .*privileged/s);
    const nothing = await agent.call("formatDisk", {});
    expect(nothing.text).toMatch(/^UNKNOWN_TOOL/);
    expect(machinePids(data)).toEqual([]);
    const intents = auditRecords(data)
      .map((it) => it.body)
      .filter((it) => it.kind === "intent");
    expect(intents.slice(-3).map((it) => it.decision)).toEqual(["deny", "invalid", "invalid"]);
  });
});

describe("in the sandbox", () => {
  test("a program is written and run, on another kernel than the host's [G1]", async () => {
    const code = "import platform\nprint(platform.release())\nprint(6 * 7)\n";
    const progress: string[] = [];
    const written = await agent.call(
      "writeFile",
      { path: "/workspace/hello.py", content: code },
      { onProgress: (message) => progress.push(message) },
    );
    expect(written.text, written.text).not.toMatch(/^[A-Z_]+:/);
    expect(progress.join("\n")).toContain("preparing the sandbox");
    const ran = await agent.call("exec", { argv: ["python3", "hello.py"] });
    expect(ran.result).toMatchObject({ exitCode: 0, endedBy: "exit", truncated: false });
    const [kernel, answer] = ran.result.stdout.trim().split("\n");
    expect(answer).toBe("42");
    expect(kernel).not.toBe(release());
  });

  test("argv, env, cwd and stdin reach the program exactly", async () => {
    const code = "import json,os,sys;print(json.dumps([sys.argv[1:],os.environ['X'],os.getcwd(),sys.stdin.read()]))";
    const argv = ["python3", "-c", code, "a b", "", "$HOME", "'\"", "--", "é\n"];
    const ran = await agent.call("exec", { argv, env: { X: "1 2" }, cwd: "/tmp", stdin: "line\n" });
    expect(JSON.parse(ran.result.stdout)).toEqual([["a b", "", "$HOME", "'\"", "--", "é\n"], "1 2", "/tmp", "line\n"]);
  });

  test("a failing program is a result, not an error; stderr is apart", async () => {
    const ran = await python("import sys;print('out');print('err',file=sys.stderr);sys.exit(3)");
    expect(ran.isError).toBe(false);
    expect(ran.result).toMatchObject({ exitCode: 3, endedBy: "exit", stdout: "out\n", stderr: "err\n" });
    const missing = await agent.call("exec", { argv: ["no-such-program"] });
    expect(missing.text).toMatch(/^PROGRAM_NOT_FOUND/);
  });

  test("a shell script runs with pipes", async () => {
    const ran = await agent.call("shell", { script: "printf 'b\\na\\n' | sort | tr '\\n' ' '" });
    expect(ran.result).toMatchObject({ exitCode: 0, stdout: "a b " });
  });

  test("a deadline ends the whole process group", async () => {
    const ran = await agent.call("shell", { script: "sleep 600 & sleep 601; echo not reached", timeoutMs: 1500 });
    expect(ran.result).toMatchObject({ endedBy: "timeout" });
    const left = await agent.call("shell", {
      script: "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60[01]'",
    });
    expect(left.result.stdout.trim()).toBe("0");
  });

  test("cancelling a call kills the program inside, and the outcome says so", async () => {
    const controller = new AbortController();
    const running = agent.call(
      "exec",
      { argv: ["python3", "-uc", "import time;print('here');time.sleep(987)"] },
      {
        signal: controller.signal,
        onProgress: (message) => message.includes("here") && controller.abort(),
      },
    );
    await expect(running).rejects.toThrow();
    await expect
      .poll(
        async () =>
          (
            await agent.call("shell", { script: "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep.98[7]'" })
          ).result.stdout.trim(),
        { timeout: 60_000 },
      )
      .toBe("0");
    const outcomes = auditRecords(data)
      .map((it) => it.body)
      .filter((it) => it.kind === "outcome");
    expect(JSON.stringify(outcomes)).toContain("cancelled");
  });

  test("long work becomes a process that is read on, written to and stopped", async () => {
    const argv = ["python3", "-uc", "for line in __import__('sys').stdin: print('got', line.strip())"];
    const started = await agent.call("exec", { argv, background: true });
    const { processId } = started.result;
    expect(started.result.state).toBe("running");
    expect((await agent.call("writeProcess", { processId, stdin: "one\n" })).isError).toBe(false);
    await expect.poll(async () => (await agent.call("readProcess", { processId })).result.stdout).toContain("got one");
    const listed = await agent.call("listProcesses");
    expect(JSON.stringify(listed.result)).toContain(processId);
    const stopped = await agent.call("stopProcess", { processId });
    expect(stopped.isError, stopped.text).toBe(false);
    await expect.poll(async () => (await agent.call("readProcess", { processId })).result.state).toBe("ended");
  });

  test("a program in a terminal shows what it would to a person, and takes keys", async () => {
    const size = await agent.call("exec", { argv: ["stty", "size"], terminal: true });
    expect(size.result).toMatchObject({ exitCode: 0, stdout: "40 120\r\n", stderr: "" });
    const colours = await agent.call("shell", { script: "printf '\\033[31mred\\033[0m\\n' >&2", terminal: true });
    expect(colours.result).toMatchObject({ stdout: "\u001b[31mred\u001b[0m\r\n", stderr: "" });
    expect(colours.text).toMatch(/--- stdout\nred$/);
    const started = await agent.call("exec", { argv: ["python3", "-q"], terminal: true, background: true });
    const { processId } = started.result;
    const shown = async () => (await agent.call("readProcess", { processId })).result.stdout;
    await expect.poll(shown).toContain(">>> ");
    await agent.call("writeProcess", { processId, stdin: "print(6 * 7)\nwhile True: pass\n\n" });
    await expect.poll(shown).toContain("42\r\n");
    await agent.call("writeProcess", { processId, stdin: "\u0003" });
    await expect.poll(shown).toContain("KeyboardInterrupt");
    await agent.call("writeProcess", { processId, stdin: "exit(3)\n", close: true });
    const state = async () => (await agent.call("readProcess", { processId })).result;
    await expect.poll(state).toMatchObject({ state: "ended", endedBy: "exit", exitCode: 3 });
  });

  test("calls in one session run at the same time", async () => {
    // The first waits for the second: it would never end if they ran one after the other.
    const waits = agent.call("shell", {
      script: "until [ -e /tmp/signal ]; do sleep 0.2; done; echo done",
      timeoutMs: 40_000,
    });
    const sets = agent.call("shell", { script: "touch /tmp/signal" });
    expect((await Promise.all([waits, sets])).map((it) => it.result.exitCode)).toEqual([0, 0]);
  });

  test("files: write, read by lines, edit with a diff, list, search", async () => {
    const path = "/workspace/src/deep/näme with space.txt";
    const content = "one\ntwo\nthree\n";
    const written = await agent.call("writeFile", { path, content, createParents: true });
    expect(written.result).toMatchObject({ bytes: 14, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const part = await agent.call("readFile", { path, offset: 2, limit: 1 });
    expect(part.text).toContain("two");
    expect(part.text).not.toContain("three");
    const edited = await agent.call("editFile", { path, edits: [{ oldText: "two", newText: "zwei" }] });
    expect(edited.result.diff).toMatch(/-two\n\+zwei/);
    const stale = await agent.call("writeFile", { path, content: "x", ifHash: written.result.sha256 });
    expect(stale.text).toMatch(/^FILE_CHANGED/);
    const listed = await agent.call("listDirectory", { path: "/workspace/src", depth: 3 });
    expect(JSON.stringify(listed.result)).toContain("näme with space.txt");
    const found = await agent.call("searchFiles", { path: "/workspace", pattern: "zw[e]i" });
    expect(JSON.stringify(found.result)).toContain(path);
  });

  test("explainPolicy decides without executing", async () => {
    const would = await agent.call("explainPolicy", { tool: "writeFile", arguments: { path: "/etc/x", content: "" } });
    expect(would.isError).toBe(false);
    expect(JSON.stringify(would.result)).toContain("deny");
  });

  test("sessionStatus shows both kernels and the attested facts [G11]", async () => {
    const status = await agent.call("sessionStatus");
    expect(status.text).toContain(release());
    expect(JSON.stringify(status.result)).toMatch(/"level":"microvm"/);
    const opened = auditRecords(data)
      .map((it) => it.body)
      .find((it) => it.kind === "event" && it.event === "session-opened");
    expect(JSON.stringify(opened)).toMatch(/bootId/);
  });

  test("a fresh sandbox has none of the old one's files", async () => {
    await agent.call("writeFile", { path: "/workspace/old.txt", content: "old" });
    const reset = await agent.call("resetSession");
    expect(reset.isError, reset.text).toBe(false);
    const gone = await agent.call("readFile", { path: "/workspace/old.txt" });
    expect(gone.text).toMatch(/^FILE_NOT_FOUND/);
  });
});

describe("several sessions", () => {
  test("each has its own machine, kernel and files; ids are useless elsewhere [G2] [G18]", async () => {
    const opened = await agent.call("openSession", { name: "second" });
    expect(opened.isError, opened.text).toBe(false);
    const { sessionId } = opened.result;
    const name = { argv: ["hostname"] };
    const first = await agent.call("exec", name);
    const second = await agent.call("exec", { ...name, sessionId });
    expect(first.result.stdout).not.toBe(second.result.stdout);
    await agent.call("writeFile", { path: "/workspace/mine.txt", content: "1", sessionId });
    expect((await agent.call("readFile", { path: "/workspace/mine.txt" })).text).toMatch(/^FILE_NOT_FOUND/);
    const closed = await agent.call("closeSession", { sessionId });
    expect(closed.isError, closed.text).toBe(false);
    expect((await agent.call("exec", { ...name, sessionId })).text).toMatch(/^SESSION_NOT_FOUND/);
    await using other = await connect(data);
    const { sessionId: own } = (await agent.call("sessionStatus")).result;
    expect((await other.call("exec", { ...name, sessionId: own })).text).toMatch(/^SESSION_NOT_FOUND/);
  });
});

describe("the end", () => {
  test("closing stdin ends the server and its machines within five seconds", async () => {
    using own = testData();
    const short = await connect(own);
    await short.call("exec", { argv: ["true"] });
    expect(machinePids(own)).not.toEqual([]);
    const startedMs = performance.now();
    await short.client.close();
    await processGone(short.pid);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(machinePids(own)).toEqual([]);
    const [last, signed] = auditRecords(own).slice(-2);
    expect(signed?.body).toMatchObject({ kind: "event", event: "checkpoint" });
    expect(last?.body).toMatchObject({ kind: "event", event: "gateway-stopped" });
  });
});
