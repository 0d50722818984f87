import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { expectRightTime } from "../support/clock.ts";
import { auditRecords, connect, testData } from "../support/gateway.ts";
import { INSPECTED, inspect } from "../support/inspector.ts";

/** What a long life does to a gateway. */

/** Sessions before the first measurement: by then all code that they run is loaded, and compiled as far as it soon will be. */
const WARM_UP = 20;
const SESSIONS = 60;
/**
 * Of a session that has ended. Its deadlines, of up to a minute, hold what they are for until they pass: 14 KiB were measured
 * in the first minute, 5 after it. A session that something goes on holding, or a machine's channel, is 80.
 */
const RETAINED_BYTES = 32 * 1024;
/** What the process as a whole may grow by, right after a collection: memory that V8 knows nothing of. */
const RESIDENT_BYTES = 16 * 1024 ** 2;

interface Held {
  readonly descriptors: number;
  readonly residentBytes: number;
  /** Their names. */
  readonly children: readonly string[];
  readonly machineDirectories: number;
}

function heldBy(pid: number, data: string): Held {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const gateways = join(data, "state", "gateways");
  const machines = readdirSync(gateways).map((it) => join(gateways, it, "machines"));
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    residentBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024,
    children: childrenOf(pid),
    machineDirectories: machines.flatMap((it) => (existsSync(it) ? readdirSync(it) : [])).length,
  };
}

function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map((it) => readFileSync(`/proc/${it}/comm`, "utf8").trim());
}

test("sixty sessions, one after the other, leave nothing behind", { timeout: 900_000 }, async () => {
  using data = testData();
  await using client = await connect(data, ["--spares", "0"], INSPECTED);
  using inspector = await inspect(client);
  const runSessions = async (count: number) => {
    for (let index = 0; index < count; index += 1) {
      const opened = await client.call("openSession", {});
      expect(opened.isError, opened.text).toBe(false);
      const { sessionId } = opened.result;
      // Each eighth does something; most of the time goes into opening.
      if (index % 8 === 0) expect((await client.call("exec", { argv: ["true"], sessionId })).result.exitCode).toBe(0);
      expect((await client.call("closeSession", { sessionId })).isError).toBe(false);
    }
    // In this order: what is resident is looked at when the rubbish is gone.
    const retainedBytes = await inspector.retainedBytes();
    return { retainedBytes, ...heldBy(client.pid, data.directory) };
  };
  const early = await runSessions(WARM_UP);
  const late = await runSessions(SESSIONS - WARM_UP);
  expect(late.descriptors).toBeLessThanOrEqual(early.descriptors + 3);
  // The last machine ends behind the answer that its session is closed.
  await expect.poll(() => heldBy(client.pid, data.directory)).toMatchObject({ children: [], machineDirectories: 0 });
  expect((late.retainedBytes - early.retainedBytes) / (SESSIONS - WARM_UP)).toBeLessThan(RETAINED_BYTES);
  expect(late.residentBytes - early.residentBytes).toBeLessThan(RESIDENT_BYTES);
  const events = auditRecords(data).map((it) => (it.body.kind === "event" ? it.body.event : ""));
  expect(events.filter((it) => it === "session-opened")).toHaveLength(SESSIONS);
  expect(events.filter((it) => it === "session-closed")).toHaveLength(SESSIONS);
});

test("a second session comes out of the pool, once, and is as isolated as the first", async () => {
  using data = testData();
  await using client = await connect(data, ["--spares", "1"]);
  const open = async () => (await client.call("openSession", {})).result as { sessionId: string };
  const first = await open();
  // Made in the background, at leisure.
  await expect.poll(() => heldBy(client.pid, data.directory).machineDirectories).toBe(2);
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const second = await open();
  const third = await open();
  const facts = auditRecords(data).flatMap(({ body }) =>
    body.kind === "event" && body.event === "session-opened" ? [JSON.stringify(body.facts)] : [],
  );
  expect(facts.map((it) => it.includes('"pooled":true'))).toEqual([false, true, false]);
  const names = await Promise.all(
    [first, second, third].map(
      async ({ sessionId }) => (await client.call("exec", { argv: ["hostname"], sessionId })).result.stdout as string,
    ),
  );
  expect(new Set(names).size).toBe(3);
  await expectRightTime(async () =>
    Number((await client.call("exec", { argv: ["date", "+%s"], sessionId: second.sessionId })).result.stdout),
  );
});
