import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Container, Run, RunExit } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { Process, ProcessSpec } from "../../src/session/process.ts";
import { Processes } from "../../src/session/processes.ts";
import { localContainer } from "../support/local-container.ts";

const never = new AbortController().signal;
const BASE: Omit<ProcessSpec, "argv"> = {
  cwd: "/",
  env: {},
  keepStdinOpen: false,
  timeoutMs: 20_000,
  callId: "call-test",
};

function bash(script: string, options: Partial<ProcessSpec> = {}): ProcessSpec {
  return { ...BASE, argv: ["/bin/bash", "--norc", "-c", script], ...options };
}

/** A table over this machine's programs. */
function table(container: Container = localContainer(), profile: object = {}) {
  const events: unknown[] = [];
  const processes = new Processes({
    environment: {},
    container,
    profile: () => profileSchema.parse(profile),
    onEnded: (facts) => events.push(facts),
  });
  const stack = new AsyncDisposableStack();
  stack.use(container);
  stack.use(processes);
  return { processes, events, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function firstOutput(process: Process): Promise<void> {
  if (process.stdout.totalBytes > 0) return;
  await new Promise<void>((resolve) => {
    process.onOutput(() => resolve());
  });
}

/** Waits until no process of this id runs; the test's own time limit is the deadline. */
async function gone(pid: string): Promise<void> {
  expect(pid).toMatch(/^\d+$/);
  while (existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")) await sleep(10);
}

/** A run whose streams and end the test plays itself. */
function scriptedRun() {
  const { promise: exit, resolve } = Promise.withResolvers<RunExit>();
  const signals: string[] = [];
  const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() };
  const run: Run = { ...streams, exit, signal: async (name) => void signals.push(name) };
  const finish = (how: RunExit) => {
    streams.stdout.end();
    streams.stderr.end();
    resolve(how);
  };
  return { run, signals, finish, ...streams };
}

function containerOf(run: Run): Container {
  return { ...localContainer(), run: async () => run };
}

describe("a program", () => {
  test("runs to its end, with its output, exit code and environment", async () => {
    await using t = table();
    const process = await t.processes.start(
      bash("echo $WHO; pwd; echo bad >&2; exit 3", { env: { WHO: "me" } }),
      never,
    );
    expect(process.id).toMatch(/^proc-/);
    await process.ended;
    expect(process.stdout.read(0, 100).text).toBe("me\n/\n");
    expect(process.stderr.read(0, 100).text).toBe("bad\n");
    expect(process.end).toEqual({ endedBy: "exit", exitCode: 3 });
  });

  test("reads its standard input to the end", async () => {
    await using t = table();
    const input = Buffer.alloc(300_000, "x");
    const process = await t.processes.start(bash("wc -c", { stdin: input }), never);
    await process.ended;
    expect(process.stdout.read(0, 100).text.trim()).toBe("300000");
  });

  test("that ends without reading its input ends normally", async () => {
    await using t = table();
    const process = await t.processes.start(bash("exit 0", { stdin: Buffer.alloc(1_000_000) }), never);
    await process.ended;
    expect(process.end).toEqual({ endedBy: "exit", exitCode: 0 });
  });

  test("that is not there is an error, and takes no place", async () => {
    await using t = table();
    const start = t.processes.start({ ...BASE, argv: ["no-such-program-here"] }, never);
    await expect(start).rejects.toMatchObject({ code: "PROGRAM_NOT_FOUND" });
    expect(t.processes.running).toBe(0);
    expect(t.events).toEqual([]);
  });

  test("leaves a record of its end", async () => {
    await using t = table();
    const process = await t.processes.start(bash("echo hi; exit 1"), never);
    await process.ended;
    expect(t.events).toEqual([
      {
        processId: process.id,
        callId: "call-test",
        endedBy: "exit",
        exitCode: 1,
        durationMs: process.durationMs,
        stdoutBytes: 3,
        stderrBytes: 0,
      },
    ]);
  });
});

describe("ends", () => {
  test("by its time limit, with everything in its group", async () => {
    await using t = table();
    const process = await t.processes.start(bash("sleep 600 & echo $!; wait", { timeoutMs: 300 }), never);
    await process.ended;
    expect(process.end).toMatchObject({ endedBy: "timeout", signal: "SIGTERM" });
    const child = process.stdout.read(0, 100).text.trim();
    await gone(child);
  });

  test("by SIGKILL after a grace, when it does not listen to SIGTERM", async () => {
    await using t = table();
    const process = await t.processes.start(bash("trap '' TERM; echo ready; while true; do sleep 0.05; done"), never);
    await firstOutput(process);
    const began = performance.now();
    await process.cancel("cancelled");
    expect(performance.now() - began).toBeGreaterThan(1_900);
    expect(process.end).toMatchObject({ endedBy: "cancelled", signal: "SIGKILL" });
  });

  test("may clean up when it is asked to end", async () => {
    await using t = table();
    const process = await t.processes.start(bash("trap 'echo bye; exit 7' TERM; echo ready; sleep 600 & wait"), never);
    await firstOutput(process);
    await process.cancel("cancelled");
    expect(process.end).toEqual({ endedBy: "cancelled", exitCode: 7 });
    expect(process.stdout.read(0, 100).text).toBe("ready\nbye\n");
  });

  test("by a signal that somebody sent", async () => {
    await using t = table();
    const process = await t.processes.start(bash("echo ready; exec sleep 600"), never);
    await firstOutput(process);
    await process.signal("SIGINT");
    await process.ended;
    expect(process.end).toEqual({ endedBy: "signal", exitCode: 130, signal: "SIGINT" });
    await expect(process.signal("SIGINT")).rejects.toMatchObject({ code: "PROCESS_ENDED" });
  });

  test("by writing more than the profile permits", async () => {
    await using t = table(undefined, { output: { limitBytes: 1_048_576 } });
    const process = await t.processes.start(bash("yes"), never);
    await process.ended;
    expect(process.end).toMatchObject({ endedBy: "output-limit" });
  });

  test.each<[string, RunExit, object]>([
    ["out of memory", { by: "out-of-memory", exitCode: 137 }, { endedBy: "out-of-memory", exitCode: 137 }],
    ["machine lost", { by: "machine-lost" }, { endedBy: "machine-lost" }],
  ])("as the container layer says: %s", async (_, exit, expected) => {
    const { run, finish } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash(""), never);
    finish(exit);
    await process.ended;
    expect(process.end).toEqual(expected);
  });

  test("for the first cause, whatever follows", async () => {
    const { run, finish, signals } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash("", { timeoutMs: 50 }), never);
    const cancelled = process.cancel("cancelled");
    await process.wait(100, never);
    void process.cancel("output-limit");
    finish({ by: "machine-lost" });
    await cancelled;
    expect(process.end).toEqual({ endedBy: "cancelled" });
    // The second for what it may have left behind.
    expect(signals).toEqual(["SIGTERM", "SIGKILL"]);
  });

  test("of itself first, when a cancellation comes too late", async () => {
    await using t = table();
    const process = await t.processes.start(bash("exit 0"), never);
    await process.ended;
    await process.cancel("cancelled");
    expect(process.end).toEqual({ endedBy: "exit", exitCode: 0 });
  });

  test("a signal that can't be delivered does no harm", async () => {
    const { run, finish } = scriptedRun();
    const deaf: Run = { ...run, signal: () => Promise.reject(new GatewayError("MACHINE_LOST")) };
    await using t = table(containerOf(deaf));
    const process = await t.processes.start(bash(""), never);
    const cancelled = process.cancel("cancelled");
    finish({ by: "machine-lost" });
    await cancelled;
    expect(process.end?.endedBy).toBe("cancelled");
  });

  test("an output stream that breaks does no harm", async () => {
    const { run, finish, stdout } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash(""), never);
    const arrived = once(stdout, "data");
    stdout.write("before");
    await arrived;
    stdout.destroy(new Error("broken"));
    finish({ by: "machine-lost" });
    await process.ended;
    expect(process.stdout.read(0, 100).text).toBe("before");
  });
});

describe("waiting", () => {
  test("yields a program that goes on", async () => {
    await using t = table();
    const process = await t.processes.start(bash("sleep 600"), never);
    await process.wait(30, never);
    expect(process.end).toBeUndefined();
    expect(t.processes.running).toBe(1);
  });

  test("is over when the caller goes away, and the program goes on", async () => {
    await using t = table();
    const process = await t.processes.start(bash("sleep 600"), never);
    const caller = new AbortController();
    const wait = process.wait(60_000, caller.signal);
    caller.abort(new GatewayError("CANCELLED"));
    await expect(wait).rejects.toMatchObject({ code: "CANCELLED" });
    expect(process.end).toBeUndefined();
  });

  test("output is heard live, and read on with a cursor", async () => {
    await using t = table();
    const process = await t.processes.start(bash("read line; echo got $line; cat", { keepStdinOpen: true }), never);
    const heard: string[] = [];
    const stop = process.onOutput((chunk) => heard.push(chunk.toString()));
    expect(await process.write(Buffer.from("one\n"), false, never)).toBe(true);
    await firstOutput(process);
    stop();
    expect(heard).toEqual(["got one\n"]);
    const { nextCursor } = process.stdout.read(0, 100);
    await process.write(Buffer.from("two"), true, never);
    await process.ended;
    expect(process.stdout.read(nextCursor, 100).text).toBe("two");
  });
});

describe("input", () => {
  test("is refused where it was not asked for, or is closed, or the program has ended", async () => {
    await using t = table();
    const closed = await t.processes.start(bash("sleep 600"), never);
    await expect(closed.write(Buffer.from("x"), false, never)).rejects.toMatchObject({ code: "STDIN_CLOSED" });
    const open = await t.processes.start(bash("cat; sleep 600", { keepStdinOpen: true }), never);
    await open.write(Buffer.from("x"), true, never);
    await expect(open.write(Buffer.from("x"), false, never)).rejects.toMatchObject({ code: "STDIN_CLOSED" });
    await open.cancel("cancelled");
    await expect(open.write(Buffer.from("x"), false, never)).rejects.toMatchObject({ code: "PROCESS_ENDED" });
  });

  test("that the program does not read is bounded", async () => {
    const { run } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash("", { keepStdinOpen: true }), never);
    const caller = new AbortController();
    const first = process.write(Buffer.alloc(1_000_000), false, caller.signal);
    await expect(process.write(Buffer.from("x"), false, never)).rejects.toMatchObject({ code: "STDIN_BLOCKED" });
    caller.abort(new GatewayError("CANCELLED"));
    await expect(first).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("the table", () => {
  test("admits as many as the profile permits, those that are starting included", async () => {
    await using t = table(undefined, { limits: { processes: 2 } });
    const starts = await Promise.allSettled([1, 2, 3].map(() => t.processes.start(bash("sleep 600"), never)));
    expect(starts.map((it) => it.status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(starts[2]).toMatchObject({ reason: { code: "PROCESS_LIMIT" } });
    await t.processes.list()[0]?.cancel("cancelled");
    await t.processes.start(bash("sleep 600"), never);
    expect(t.processes.running).toBe(2);
  });

  test("keeps the last 32 that ended", async () => {
    await using t = table();
    const ids: string[] = [];
    for (let i = 0; i < 34; i++) {
      const process = await t.processes.start({ ...BASE, argv: ["/bin/true"] }, never);
      ids.push(process.id);
      await process.ended;
    }
    expect(t.processes.list().map((it) => it.id)).toEqual(ids.slice(2));
    expect(() => t.processes.find(ids[0] ?? "")).toThrow(expect.objectContaining({ code: "PROCESS_NOT_FOUND" }));
    expect(t.processes.find(ids[33] ?? "").end).toEqual({ endedBy: "exit", exitCode: 0 });
    expect(t.events).toHaveLength(34);
  });

  test("keeps less of them when they hold much output", async () => {
    await using t = table(undefined, { output: { retainBytes: 10_485_760 } });
    for (let i = 0; i < 5; i++) {
      const process = await t.processes.start(bash("head -c 10485760 /dev/zero"), never);
      await process.ended;
    }
    expect(t.processes.list()).toHaveLength(3);
  });

  test("ends everything when it is disposed of, and starts nothing more", async () => {
    await using t = table();
    const process = await t.processes.start(bash("trap '' TERM; sleep 600 & echo $!; wait"), never);
    await firstOutput(process);
    const child = process.stdout.read(0, 100).text.trim();
    const began = performance.now();
    await t.processes[Symbol.asyncDispose]();
    expect(performance.now() - began).toBeLessThan(1_500);
    expect(process.end).toMatchObject({ endedBy: "cancelled" });
    await gone(child);
    await expect(t.processes.start(bash("true"), never)).rejects.toMatchObject({ code: "SESSION_CLOSED" });
    expect(t.events).toHaveLength(1);
  });

  test("does not wait for a program that can't be ended", async () => {
    const { run } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash(""), never);
    await t.processes[Symbol.asyncDispose]();
    expect(process.end).toEqual({ endedBy: "cancelled" });
    expect(t.processes.running).toBe(0);
  });

  test("says that the machine was lost of all that ran on it, also when disposal comes before the news of their end", async () => {
    const { run } = scriptedRun();
    await using t = table(containerOf(run));
    const process = await t.processes.start(bash(""), never);
    t.processes.machineLost();
    await t.processes[Symbol.asyncDispose]();
    expect(process.end).toEqual({ endedBy: "machine-lost" });
    await expect(t.processes.start(bash("true"), never)).rejects.toMatchObject({ code: "MACHINE_LOST" });
  });

  test("does not grow with 256 MB of output that nobody reads", async () => {
    await using t = table();
    const before = process.memoryUsage().rss;
    const flood = await t.processes.start(bash("head -c 268435456 /dev/zero"), never);
    await flood.ended;
    expect(flood.stdout.totalBytes).toBe(268_435_456);
    expect(flood.stdout.occupiedBytes).toBeLessThanOrEqual(1_048_576);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1_048_576);
  });
});
