import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  auditRecords,
  connect,
  machinePids,
  policyWith,
  processGone,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";

/** A session that eats all it can, beside one that goes on working [G14]. */
let data: TestData;
let agent: TestClient;
let neighbour: string;

const GIB = 1024 * 1024 * 1024;
/** An emulated machine takes two minutes for one: more when it is asked for. */
const FLOOD_GIB = Number(process.env["GLOVEBOX_FLOOD_GIB"] ?? 0.25);
const FLOOD_BYTES = FLOOD_GIB * GIB;
const FLOOD_MS = 60_000 + FLOOD_GIB * 600_000;

beforeAll(async () => {
  data = testData();
  agent = await connect(data, ["--policy", smallSandbox(data)]);
  const first = await agent.call("exec", { argv: ["true"] });
  expect(first.isError, first.text).toBe(false);
  const opened = await agent.call("openSession", { name: "neighbour" });
  expect(opened.isError, opened.text).toBe(false);
  neighbour = opened.result.sessionId;
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  expect(machinePids(data)).toEqual([]);
  data?.[Symbol.dispose]();
});

/** The default policy with less of everything, so that it is used up sooner. */
function smallSandbox(own: TestData): string {
  return policyWith(
    own,
    "resources:\n  memoryMiB: 768\n  diskMiB: 4096\n  pids: 256\noutput:\n  limitBytes: 1099511627776\ntimeouts:\n  maxExecMs: 86400000\n",
  );
}

async function neighbourWorks(): Promise<void> {
  const ran = await agent.call("exec", { argv: ["echo", "fine"], sessionId: neighbour });
  expect(ran.result, ran.text).toMatchObject({ exitCode: 0, stdout: "fine\n" });
}

/** The session answers again, or says that its machine is lost; never anything in between. */
async function answersOrLost(): Promise<void> {
  const after = await agent.call("exec", { argv: ["echo", "alive"], timeoutMs: 60_000 });
  if (after.isError) expect(after.text).toMatch(/^MACHINE_LOST/);
  else expect(after.result.stdout).toBe("alive\n");
  if (after.isError) expect((await agent.call("resetSession")).isError).toBe(false);
}

/** The most that it ever had. */
function peakBytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

test("a fork bomb meets the process limit", async () => {
  const code = "import os,time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.5)";
  const bomb = await agent.call("exec", { argv: ["python3", "-c", code], timeoutMs: 8_000 });
  expect(bomb.isError ? bomb.text : bomb.result.endedBy).toMatch(/timeout|MACHINE_LOST|CONTAINER_FAILED/);
  await neighbourWorks();
  await answersOrLost();
});

test("a memory hog is ended as out-of-memory", async () => {
  const hog = await agent.call("exec", {
    argv: ["python3", "-c", "x = []\nwhile True: x.append(bytearray(16 << 20))"],
    timeoutMs: 60_000,
  });
  expect(hog.isError ? hog.text : hog.result.endedBy).toMatch(/out-of-memory|MACHINE_LOST/);
  await neighbourWorks();
  await answersOrLost();
});

/** Most of the disk is taken without being written, which is quick; what ends it is a write like any other. */
const FILL = `
import os
file = open('/workspace/big', 'wb', 0)
disk = os.statvfs('/workspace')
os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - (256 << 20))
file.seek(0, os.SEEK_END)
while True: file.write(bytes(16 << 20))`;

test("a full disk is an error inside, and files can be deleted again", { timeout: 400_000 }, async () => {
  const filled = await agent.call(
    "exec",
    {
      argv: ["python3", "-c", FILL],
      timeoutMs: 300_000,
      yieldMs: 300_000,
    },
    { timeoutMs: 320_000 },
  );
  expect(filled.isError, filled.text).toBe(false);
  expect(filled.result.stderr).toContain("No space left");
  const refused = await agent.call("writeFile", { path: "/workspace/more", content: "x".repeat(1 << 20) });
  if (refused.isError) expect(refused.text).toMatch(/^DISK_FULL/);
  await neighbourWorks();
  const removed = await agent.call("exec", { argv: ["rm", "/workspace/big"] });
  expect(removed.result?.exitCode, removed.text).toBe(0);
  await answersOrLost();
});

test(`${FLOOD_GIB} GiB of output grow the gateway by less than 64 MiB, and the result says what is cut [G13]`, {
  timeout: FLOOD_MS,
}, async () => {
  const short = await agent.call("exec", { argv: ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"] });
  expect(short.result).toMatchObject({ exitCode: 0, truncated: true });
  expect(short.result.stdout.length).toBeLessThan(200_000);
  const before = peakBytes(agent.pid);
  const started = await agent.call("exec", {
    argv: ["head", "-c", String(FLOOD_BYTES), "/dev/zero"],
    background: true,
    timeoutMs: FLOOD_MS - 20_000,
  });
  const { processId } = started.result;
  let state: { state: string; stdoutBytes: number; endedBy?: string };
  do {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    state = (await agent.call("readProcess", { processId, maxOutputBytes: 1024 })).result;
  } while (state.state === "running");
  expect(state).toMatchObject({ endedBy: "exit", stdoutBytes: FLOOD_BYTES });
  expect(peakBytes(agent.pid) - before).toBeLessThan(64 * 1024 * 1024);
  await neighbourWorks();
});

test("a machine killed from outside is lost: the running call ends so, the next says what to do", async () => {
  const { sessionId } = (await agent.call("openSession", { name: "victim" })).result;
  const machines = auditRecords(data)
    .map((it) => it.body)
    .filter((it) => it.kind === "event" && it.event === "session-opened" && it.sessionId === sessionId);
  const pid = Number(/"pid":(\d+)/.exec(JSON.stringify(machines))?.[1]);
  const started = Promise.withResolvers<void>();
  const running = agent.call(
    "exec",
    { argv: ["sh", "-c", "echo started; sleep 300"], sessionId },
    {
      onProgress: (message) => message.includes("started") && started.resolve(),
    },
  );
  await started.promise;
  process.kill(pid, "SIGKILL");
  await processGone(pid);
  const ended = await running;
  expect(ended.isError ? ended.text : ended.result.endedBy).toMatch(/machine-lost|MACHINE_LOST/);
  expect((await agent.call("exec", { argv: ["true"], sessionId })).text).toMatch(/^MACHINE_LOST[\s\S]*resetSession/);
  await neighbourWorks();
  expect((await agent.call("closeSession", { sessionId })).isError).toBe(false);
});
