import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { workbench } from "../support/capability-context.ts";
import { localContainer } from "../support/local-container.ts";

const BASE = { cwd: "/" };
const sh = (script: string, more: object = {}) => ({ script, ...BASE, ...more });

describe("exec and shell", () => {
  test("give output, exit code and how it ended", async () => {
    await using bench = workbench();
    const { result, text, facts } = await bench.call("exec", {
      argv: ["sh", "-c", "echo out; echo err >&2; exit 3"],
      ...BASE,
    });
    expect(result).toMatchObject({ state: "ended", exitCode: 3, endedBy: "exit", stdout: "out\n", stderr: "err\n" });
    expect(result).not.toHaveProperty("processId");
    expect(text).toMatch(/^exit code 3 after \d+ ms\n--- stdout\nout\n--- stderr\nerr$/);
    expect(facts).toMatchObject({ exitCode: 3, stdoutBytes: 4, stderrBytes: 4 });
    expect(JSON.stringify(facts)).not.toContain("out\\n");
  });

  test("pass argv, environment and input exactly", async () => {
    await using bench = workbench();
    const argv = ["sh", "-c", 'printf "%s|" "$@" "$X"; cat', "-", "a b", "", "$HOME", "é\n", "--"];
    const { result } = await bench.call("exec", { argv, env: { X: "1 2" }, stdin: "in\0put", ...BASE });
    expect(result.stdout).toBe("a b||$HOME|é\n|--|1 2|in\0put");
  });

  test("ask for a terminal when they are told to, and only then", async () => {
    const container = localContainer();
    await using bench = workbench({ container });
    const argv = ["sh", "-c", "exit 0"];
    await expect(bench.call("exec", { argv, terminal: true, ...BASE })).rejects.toMatchObject({
      code: "CONTAINER_FAILED",
    });
    await expect(bench.call("shell", sh("true", { terminal: true }))).rejects.toMatchObject({
      code: "CONTAINER_FAILED",
    });
    await bench.call("exec", { argv, ...BASE });
    const [first, second, third] = container.runs;
    for (const it of [first, second]) expect(it).toMatchObject({ terminal: { columns: 120, rows: 40 }, stdin: false });
    expect(third).not.toHaveProperty("terminal");
  });

  test("a script may begin with a dash, and is bash", async () => {
    await using bench = workbench();
    expect((await bench.call("shell", sh("-x; echo after"))).result).toMatchObject({ stdout: "after\n", exitCode: 0 });
    expect((await bench.call("shell", sh("[[ ab == a* ]] && echo yes"))).result.stdout).toBe("yes\n");
  });

  test("long output keeps its beginning and end, and the rest can be read", async () => {
    await using bench = workbench();
    const { result, text } = await bench.call("shell", sh("seq 1 1000", { maxOutputBytes: 256 }));
    expect(result).toMatchObject({ truncated: true, stdoutBytes: 3893, state: "ended" });
    expect(result.stdout).toMatch(/^1\n2\n[\s\S]*\[… 3637 bytes cut …\][\s\S]*999\n1000\n$/);
    expect(text).toContain("The output was cut");
    const [, processId, cursor] = /processId (\S+) and cursor (\S+) /.exec(result.hint) ?? [];
    expect(processId).toBe(result.processId);
    const rest = await bench.call("readProcess", { processId, cursor });
    expect(rest.result.stdout).toMatch(/^\d*\n?[\s\S]*\n500\n[\s\S]*1000\n$/);
    expect(rest.result).toMatchObject({ skippedBytes: 0, more: false, state: "ended" });
  });

  test("the profile bounds what a call may ask for", async () => {
    await using bench = workbench({ profile: { timeouts: { maxExecMs: 2_000 }, output: { maxBytes: 1_024 } } });
    await expect(bench.call("exec", { argv: ["true"], timeoutMs: 3_000, ...BASE })).rejects.toMatchObject({
      code: "INVALID_ARGUMENTS",
      message: expect.stringContaining("timeoutMs"),
    });
    const { result } = await bench.call("shell", sh("head -c 9999 /dev/zero", { maxOutputBytes: 9_999 }));
    expect(result).toMatchObject({ truncated: true, stdoutBytes: 9_999 });
  });

  test("a program that takes too long is ended, and the result says so", async () => {
    await using bench = workbench();
    const { result, text } = await bench.call("exec", { argv: ["sleep", "600"], timeoutMs: 200, ...BASE });
    expect(result).toMatchObject({ state: "ended", endedBy: "timeout", signal: "SIGTERM" });
    expect(text).toMatch(/^ended by timeout/);
  });

  test("a cancelled call ends its program and has an outcome that says so", async () => {
    await using bench = workbench();
    const caller = new AbortController();
    const called = bench.call("exec", { argv: ["sleep", "600"], ...BASE }, caller.signal);
    while (bench.session.processes.running === 0) await sleep(5);
    caller.abort(new GatewayError("CANCELLED"));
    expect((await called).facts).toMatchObject({ endedBy: "cancelled" });
    expect(bench.session.processes.running).toBe(0);
  });

  test("live output is told as progress, printable, and silence is broken", async () => {
    await using bench = workbench();
    await bench.call("shell", sh("printf 'one\\033[31m\\n'; sleep 0.4; printf 'two\\rthree\\n'; sleep 0.3"));
    expect(bench.progress[0]).toBe("one");
    expect(bench.progress.at(-1)).toBe("two\nthree");
    expect(bench.progress.length).toBeLessThanOrEqual(4);
    for (const message of bench.progress) expect(message.length).toBeLessThanOrEqual(1_100);
  });

  test("terminal sequences stay in the structured result and out of the text", async () => {
    await using bench = workbench();
    const { result, text } = await bench.call(
      "shell",
      sh("printf '\\033]0;title\\007\\033[1mbold\\033[0m\\r\\n\\342\\200\\256x'"),
    );
    expect(result.stdout).toBe("\u001b]0;title\u0007\u001b[1mbold\u001b[0m\r\n\u202ex");
    expect(text).toContain("bold\n\ufffdx");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the point
    expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u202e]/);
  });

  test("a program that is not there is an error that says so", async () => {
    await using bench = workbench();
    await expect(bench.call("exec", { argv: ["no-such-program-here"], ...BASE })).rejects.toMatchObject({
      code: "PROGRAM_NOT_FOUND",
    });
  });
});

describe("processes", () => {
  test("a background program is read on, written to, listed and stopped", async () => {
    await using bench = workbench();
    const script = "echo ready; while read line; do echo got $line; done; sleep 600";
    const { result: started } = await bench.call("shell", sh(script, { background: true }));
    expect(started).toMatchObject({ state: "running", stdout: "ready\n", cursor: "6:0", truncated: false });
    const { processId } = started;
    const { result: written } = await bench.call("writeProcess", { processId, stdin: "one\n", close: true });
    expect(written).toMatchObject({ processId, bytes: 4, taken: true, state: "running" });
    await expect
      .poll(async () => (await bench.call("readProcess", { processId, cursor: "6:0" })).result.stdout)
      .toBe("got one\n");
    const { result: listed } = await bench.call("listProcesses");
    expect(listed.processes).toMatchObject([
      { processId, state: "running", argv: expect.arrayContaining([script]), cwd: "/" },
    ]);
    const { result: stopped } = await bench.call("stopProcess", { processId });
    expect(stopped).toMatchObject({ state: "ended", endedBy: "signal", signal: "SIGTERM" });
    await expect(bench.call("stopProcess", { processId })).rejects.toMatchObject({ code: "PROCESS_ENDED" });
    await expect(bench.call("writeProcess", { processId, stdin: "" })).rejects.toMatchObject({ code: "PROCESS_ENDED" });
    expect((await bench.call("readProcess", { processId })).result).toMatchObject({
      stdout: "ready\ngot one\n",
      more: false,
    });
  });

  test("a background program that fails at once shows why", async () => {
    await using bench = workbench();
    const { result } = await bench.call("shell", sh("echo 'address in use' >&2; exit 1", { background: true }));
    expect(result).toMatchObject({ state: "ended", exitCode: 1, stderr: "address in use\n" });
  });

  test("a program that runs longer than yieldMs goes on; readProcess can wait for its end", async () => {
    await using bench = workbench();
    const { result, text } = await bench.call("shell", sh("echo begin; sleep 0.4; echo end", { yieldMs: 100 }));
    expect(result).toMatchObject({ state: "running", stdout: "begin\n" });
    expect(text).toContain(`It goes on as ${result.processId}`);
    const { processId, cursor } = result;
    const { result: rest } = await bench.call("readProcess", { processId, cursor, yieldMs: 20_000 });
    expect(rest).toMatchObject({ state: "ended", exitCode: 0, stdout: "end\n", cursor: "10:0" });
  });

  test("cancelling a call that only reads leaves the program alone", async () => {
    await using bench = workbench();
    const { result } = await bench.call("exec", { argv: ["sleep", "600"], background: true, yieldMs: 0, ...BASE });
    const caller = new AbortController();
    const reading = bench.call("readProcess", { processId: result.processId, yieldMs: 60_000 }, caller.signal);
    caller.abort(new GatewayError("CANCELLED"));
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    expect(bench.session.processes.running).toBe(1);
  });

  test("reading in steps gives everything once", async () => {
    await using bench = workbench();
    const { result } = await bench.call("shell", sh("seq 1 500; seq 1 9 >&2", { maxOutputBytes: 256 }));
    let cursor = "0:0";
    let stdout = "";
    let stderr = "";
    let more = true;
    while (more) {
      const { result: piece } = await bench.call("readProcess", {
        processId: result.processId,
        cursor,
        maxOutputBytes: 300,
      });
      stdout += piece.stdout;
      stderr += piece.stderr;
      ({ cursor, more } = piece);
    }
    expect(stdout).toBe(`${Array.from({ length: 500 }, (_, i) => i + 1).join("\n")}\n`);
    expect(stderr).toBe("1\n2\n3\n4\n5\n6\n7\n8\n9\n");
  });

  test("one that does not exist is not found", async () => {
    await using bench = workbench();
    for (const tool of ["readProcess", "stopProcess"]) {
      await expect(bench.call(tool, { processId: "proc-none" })).rejects.toMatchObject({ code: "PROCESS_NOT_FOUND" });
    }
  });
});
