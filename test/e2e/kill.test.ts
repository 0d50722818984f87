import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import {
  auditRecords,
  connect,
  machinePids,
  processGone,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";

/** The gateway is killed in the middle of what it does; the next one finds nothing of it but the log [G6] [G15]. */

const MEGABYTES = "x".repeat(8_000_000);

/** @returns how many machines it had */
async function killedDuring(data: TestData, work: (victim: TestClient) => Promise<void>): Promise<number> {
  const victim = await connect(data, ["--spares", "0"]);
  const machines = new Set<number>();
  const watching = setInterval(() => machinePids(data).forEach((it) => void machines.add(it)), 20);
  try {
    await work(victim);
  } finally {
    process.kill(victim.pid, "SIGKILL");
    await processGone(victim.pid);
    clearInterval(watching);
  }
  for (const pid of machines) await processGone(pid);
  await victim.client.close();
  return machines.size;
}

/** Begins a call that nobody will see the end of. */
function begin(victim: TestClient, tool: string, args: Record<string, unknown> = {}): void {
  victim.call(tool, args).catch(() => undefined);
}

const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Of the kills, so many at least met a call that had begun. */
async function nothingIsLeft(data: TestData, interruptions: number): Promise<void> {
  {
    await using next = await connect(data, ["--spares", "0"]);
    await next.call("listSessions");
    expect(machinePids(data)).toEqual([]);
    expect(readdirSync(join(data.directory, "state", "gateways"))).toHaveLength(1);
    const worked = await next.call("exec", { argv: ["echo", "works"] }, { timeoutMs: 200_000 });
    expect(worked.result?.stdout, worked.text).toBe("works\n");
  }
  const bodies = auditRecords(data).map((it) => it.body);
  for (const it of bodies.filter((body) => body.kind === "intent" && body.decision === "permit"))
    expect(
      bodies.filter((body) => body.kind === "outcome" && body.callId === (it as { callId: string }).callId),
    ).toHaveLength(1);
  const interrupted = bodies.filter((it) => it.kind === "outcome" && it.status === "interrupted");
  expect(interrupted.length).toBeGreaterThanOrEqual(interruptions);
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
}

test("while a machine boots to become a template", { timeout: 400_000 }, async () => {
  using data = testData();
  unlinkSync(join(data.directory, "templates"));
  let machines = 0;
  for (const ms of [600, 3_000, 9_000]) {
    machines += await killedDuring(data, async (victim) => {
      begin(victim, "openSession");
      await after(ms);
    });
  }
  expect(machines).toBeGreaterThanOrEqual(2);
  await nothingIsLeft(data, 2);
  // Of the drafts of the dead nothing is left either: one template, and its lock.
  const templates = readdirSync(join(data.directory, "templates"));
  expect(templates.filter((it) => it.startsWith("."))).toEqual([]);
  expect(templates.filter((it) => !it.endsWith(".lock"))).toHaveLength(1);
});

test("while a session is opened as a copy", async () => {
  using data = testData();
  // From the moment that its process is there: taking up the state, greeting, attesting.
  for (const ms of [0, 40, 100, 200, 300]) {
    await killedDuring(data, async (victim) => {
      begin(victim, "openSession");
      await expect.poll(() => machinePids(data).length, { timeout: 30_000, interval: 5 }).toBe(1);
      await after(ms);
    });
  }
  await nothingIsLeft(data, 4);
});

test("while files go in and out", async () => {
  using data = testData();
  const begun = () => auditRecords(data).filter(({ body }) => body.kind === "intent" && /File$/.test(body.tool)).length;
  for (const ms of [0, 30, 80]) {
    await killedDuring(data, async (victim) => {
      const written = await victim.call("writeFile", { path: "/workspace/a", content: MEGABYTES });
      expect(written.isError, written.text).toBe(false);
      for (const path of ["b", "c", "d"]) begin(victim, "writeFile", { path, content: MEGABYTES });
      begin(victim, "readFile", { path: "a", encoding: "base64", limit: 8_000_000 });
      const before = begun();
      await expect.poll(begun, { timeout: 30_000, interval: 5 }).toBeGreaterThan(before);
      await after(ms);
    });
  }
  await nothingIsLeft(data, 3);
});

test("while its neighbour on the same data directory works, which nothing of it touches", async () => {
  using data = testData();
  await using neighbour = await connect(data, ["--spares", "0"]);
  await neighbour.call("writeFile", { path: "/workspace/a", content: "mine" });
  const own = machinePids(data);
  const running = neighbour.call("shell", { script: "for i in 1 2 3 4 5 6 7 8; do sleep 1; done; cat /workspace/a" });
  const victim = await connect(data, ["--spares", "0"]);
  await victim.call("exec", { argv: ["true"] });
  expect(machinePids(data)).toHaveLength(own.length + 1);
  process.kill(victim.pid, "SIGKILL");
  await processGone(victim.pid);
  // The next one cleans up after the dead, and leaves the living alone.
  {
    await using next = await connect(data, ["--spares", "0"]);
    await next.call("listSessions");
    expect(machinePids(data)).toEqual(own);
    expect((await next.call("exec", { argv: ["echo", "works"] })).result.stdout).toBe("works\n");
  }
  expect((await running).result).toMatchObject({ exitCode: 0, stdout: "mine" });
  expect((await neighbour.call("exec", { argv: ["cat", "/workspace/a"] })).result.stdout).toBe("mine");
  await victim.client.close();
  await neighbour[Symbol.asyncDispose]();
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});
