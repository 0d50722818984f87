import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditRecords, connect, machinePids, processGone, testData } from "../support/gateway.ts";

test("after kill -9 in the middle of a call the next start leaves nothing and records the interruption [G6] [G15]", async () => {
  using data = testData();
  const victim = await connect(data);
  await victim.call("exec", { argv: ["true"] });
  const orphans = machinePids(data);
  expect(orphans.length).toBeGreaterThan(0);
  const started = Promise.withResolvers<void>();
  const cut = victim.call(
    "exec",
    { argv: ["sh", "-c", "echo started; sleep 500"] },
    {
      onProgress: (message) => message.includes("started") && started.resolve(),
    },
  );
  cut.catch(() => undefined);
  await started.promise;
  process.kill(victim.pid, "SIGKILL");
  await expect(cut).rejects.toThrow();
  await processGone(victim.pid);

  await using next = await connect(data);
  // Answering a call means that the start-up work is done.
  await next.call("listSessions");
  for (const pid of orphans) await processGone(pid);
  expect(machinePids(data)).toEqual([]);
  expect(readdirSync(join(data.directory, "state", "gateways"))).toHaveLength(1);
  const bodies = auditRecords(data).map((it) => it.body);
  const interrupted = bodies.filter((it) => it.kind === "outcome" && it.status === "interrupted");
  expect(interrupted).toHaveLength(1);
  await next[Symbol.asyncDispose]();
  const problems = await verifyLog(join(data.directory, "audit"));
  expect(problems.problems).toEqual([]);
});

test("twenty kills at random points lose no record of an effect that a client saw [G5] [G6]", async () => {
  using data = testData();
  const seen = new Set<string>();
  for (let round = 0; round < 20; round += 1) {
    const victim = await connect(data);
    // Calls that need no machine: the log's promise is the same, and a boot for each would take many minutes.
    const calls = Array.from({ length: 40 }, async (_, index) => {
      const answer = await victim.call("explainPolicy", {
        tool: "exec",
        arguments: { argv: ["true", `${round}/${index}`] },
      });
      const id = /call-[0-9a-z]+/.exec(JSON.stringify(answer.raw._meta))?.[0];
      if (id) seen.add(id);
    });
    // Every second round the kill falls among the answers, otherwise anywhere from the first byte of the first request on.
    if (round % 2 === 0) await Promise.any(calls);
    setTimeout(() => process.kill(victim.pid, "SIGKILL"), Math.random() * (round % 2 === 0 ? 25 : 80));
    await Promise.allSettled(calls);
    await processGone(victim.pid);
    await victim.client.close();
  }
  await using last = await connect(data);
  await last.call("listSessions");
  await last[Symbol.asyncDispose]();
  const bodies = auditRecords(data).map((it) => it.body);
  const count = (kind: "intent" | "outcome", id: string) =>
    bodies.filter((it) => it.kind === kind && it.callId === id).length;
  expect(seen.size).toBeGreaterThan(0);
  for (const id of seen) expect([id, count("intent", id), count("outcome", id)]).toEqual([id, 1, 1]);
  for (const body of bodies)
    if (body.kind === "intent") expect([body.callId, count("outcome", body.callId)]).toEqual([body.callId, 1]);
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} ends the server and its machines within five seconds`, async () => {
    using data = testData();
    const agent = await connect(data);
    await agent.call("exec", { argv: ["sleep", "300"], background: true });
    expect(machinePids(data)).not.toEqual([]);
    const startedMs = performance.now();
    process.kill(agent.pid, signal);
    await processGone(agent.pid);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(machinePids(data)).toEqual([]);
    expect(readdirSync(join(data.directory, "state", "gateways"))).toEqual([]);
    await agent.client.close();
  });
}
