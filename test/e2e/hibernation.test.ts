import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import {
  auditRecords,
  connect,
  machinePids,
  policyWith,
  processGone,
  type TestData,
  testData,
} from "../support/gateway.ts";

/** The default policy, under which a session sleeps on disk as soon as it rests. */
const sleepyPolicy = (data: TestData) => policyWith(data, "timeouts:\n  hibernateMs: 2000\n");

test("a session that nobody calls takes no memory, and the next call finds files, memory and what ended before", async () => {
  using data = testData();
  await using agent = await connect(data, ["--spares", "0", "--policy", sleepyPolicy(data)]);
  await agent.call("writeFile", { path: "/workspace/a", content: "on disk" });
  await agent.call("exec", {
    argv: ["sh", "-c", "echo in memory > /dev/shm/a; (setsid sleep 5000 > /dev/null 2>&1 &)"],
  });
  const ended = await agent.call("exec", { argv: ["sh", "-c", "sleep 1; echo earlier"], background: true });
  const { processId } = ended.result;
  const kernel = (await agent.call("sessionStatus")).result.isolation.guestBootId;

  await expect.poll(() => machinePids(data).length, { timeout: 120_000, interval: 500 }).toBe(0);
  const asleep = await agent.call("sessionStatus");
  expect(asleep.result).toMatchObject({ state: "ready", detail: "asleep on disk" });

  const said: string[] = [];
  const wokenMs = Date.now();
  const woken = await agent.call(
    "exec",
    {
      argv: ["sh", "-c", "cat /workspace/a; echo; cat /dev/shm/a; grep -lx sleep /proc/[0-9]*/comm | wc -l; date +%s"],
    },
    { onProgress: (message) => said.push(message) },
  );
  const [file, memory, left, clock] = String(woken.result?.stdout).trim().split("\n");
  expect([file, memory, left], woken.text).toEqual(["on disk", "in memory", "1"]);
  expect(Number(clock)).toBeGreaterThan(wokenMs / 1000 - 2);
  expect(Number(clock)).toBeLessThan(Date.now() / 1000 + 2);
  expect(said.join("\n")).toContain("preparing the sandbox");
  expect((await agent.call("readProcess", { processId })).result).toMatchObject({ stdout: "earlier\n" });
  expect((await agent.call("sessionStatus")).result.isolation).toMatchObject({
    start: "snapshot",
    guestBootId: kernel,
  });
  // The machine that it is in now has the same way out.
  const refused = await agent.call("exec", { argv: ["curl", "-sS", "-m", "20", "http://example.org/"] });
  expect(refused.result.blocked).toEqual(["`example.org:80` blocked: no policy grants it"]);
  expect(machinePids(data)).toHaveLength(1);
  const gateways = join(data.directory, "state", "gateways");
  expect(readdirSync(gateways).flatMap((it) => readdirSync(join(gateways, it, "machines")))).toHaveLength(1);

  // It ends asleep, and leaves nothing.
  await expect.poll(() => machinePids(data).length, { timeout: 120_000, interval: 500 }).toBe(0);
  await agent[Symbol.asyncDispose]();
  expect(readdirSync(gateways)).toEqual([]);
  const events = auditRecords(data).flatMap(({ body }) => (body.kind === "event" ? [body.event] : []));
  expect(events.filter((it) => it.startsWith("session-"))).toEqual([
    "session-opened",
    "session-hibernated",
    "session-woken",
    "session-hibernated",
    "session-closed",
  ]);
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});

test("a gateway that is told to end while it writes a session to disk ends within seconds, and leaves nothing", async () => {
  using data = testData();
  await using agent = await connect(data, ["--spares", "0", "--policy", sleepyPolicy(data)]);
  await agent.call("exec", { argv: ["true"] });
  const gateways = join(data.directory, "state", "gateways");
  const drafts = () =>
    readdirSync(gateways)
      .flatMap((it) => readdirSync(join(gateways, it, "machines")))
      .filter((it) => it.startsWith("snap-"));
  await expect.poll(() => drafts().length, { timeout: 120_000, interval: 20 }).toBe(1);
  const startedMs = performance.now();
  process.kill(agent.pid, "SIGTERM");
  await processGone(agent.pid);
  expect(performance.now() - startedMs).toBeLessThan(8_000);
  expect(machinePids(data)).toEqual([]);
  expect(readdirSync(gateways)).toEqual([]);
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});
