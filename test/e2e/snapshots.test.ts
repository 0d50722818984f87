import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import {
  auditRecords,
  connect,
  ENTRY,
  machinePids,
  processGone,
  shippedPolicy,
  type TestClient,
  testData,
} from "../support/gateway.ts";

const text = async (client: TestClient, path: string, sessionId?: string) =>
  (await client.call("readFile", { path, ...(sessionId ? { sessionId } : {}) })).result?.content;

test("an agent tries something, goes back, forks, and finds its snapshots again after the gateway has ended", {
  timeout: 400_000,
}, async () => {
  using data = testData();
  const write = (client: TestClient, content: string, sessionId?: string) =>
    client.call("writeFile", { path: "/workspace/a", content, ...(sessionId ? { sessionId } : {}) });
  {
    await using agent = await connect(data, ["--spares", "0"]);
    await write(agent, "before");
    const server = await agent.call("exec", {
      argv: ["sh", "-c", "while :; do date +%s%N > /workspace/beat; sleep 0.1; done"],
      background: true,
    });
    expect(server.isError, server.text).toBe(false);
    const taken = await agent.call("snapshotSession", { snapshot: "before" });
    expect(taken.isError, taken.text).toBe(false);
    expect(taken.result.bytes).toBeGreaterThan(50_000_000);
    // The session goes on, with its processes.
    expect((await agent.call("listProcesses")).result.processes[0].state).toBe("running");
    await write(agent, "after");

    const forked = await agent.call("forkSession", { name: "as it is now" });
    expect(forked.isError, forked.text).toBe(false);
    const { sessionId } = forked.result;
    expect(await text(agent, "/workspace/a", sessionId)).toBe("after");
    await write(agent, "in the fork", sessionId);
    expect(await text(agent, "/workspace/a")).toBe("after");
    await agent.call("closeSession", { sessionId });

    const ownId = (await agent.call("sessionStatus")).result.sessionId;
    const restored = await agent.call("restoreSession", { snapshot: "before" });
    expect(restored.isError, restored.text).toBe(false);
    expect(restored.result.sessionId).toBe(ownId);
    expect(await text(agent, "/workspace/a")).toBe("before");
    expect((await agent.call("sessionStatus")).result.isolation.start).toBe("snapshot");
    const beat = await text(agent, "/workspace/beat");
    await expect.poll(() => text(agent, "/workspace/beat")).not.toBe(beat);
    expect(machinePids(data)).toHaveLength(1);
  }
  await using later = await connect(data);
  const listed = await later.call("listSessions");
  expect(listed.result.sessions).toEqual([]);
  expect(listed.result.snapshots).toMatchObject([{ name: "before" }]);
  const restored = await later.call("restoreSession", { snapshot: "before" });
  expect(restored.isError, restored.text).toBe(false);
  expect(await text(later, "/workspace/a")).toBe("before");

  expect((await later.call("snapshotSession", { snapshot: "before" })).text).toMatch(/^SNAPSHOT_EXISTS/);
  expect((await later.call("restoreSession", { snapshot: "other" })).text).toMatch(/^SNAPSHOT_NOT_FOUND/);
  const env = { ...process.env, GLOVEBOX_DATA_DIR: data.directory };
  const gone = spawnSync(process.execPath, [ENTRY, "snapshot", "delete", "before"], { encoding: "utf8", env });
  expect([gone.status, gone.stdout]).toEqual([0, "deleted before\n"]);
  expect(readdirSync(join(data.directory, "snapshots"))).toEqual(["lock"]);
  expect((await later.call("restoreSession", { snapshot: "before" })).text).toMatch(/^SNAPSHOT_NOT_FOUND/);
  expect(await text(later, "/workspace/a")).toBe("before");
  await later[Symbol.asyncDispose]();

  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
  const bodies = auditRecords(data).map((it) => it.body);
  const intents = bodies.filter((it) => it.kind === "intent" && /snapshot|restore|fork/i.test(it.tool));
  const outcomes = new Set(bodies.flatMap((it) => (it.kind === "outcome" ? [it.callId] : [])));
  expect(intents.length).toBe(7);
  for (const it of intents) expect("callId" in it && outcomes.has(it.callId)).toBe(true);
  expect(bodies.some((it) => it.kind === "event" && it.event === "snapshot-deleted")).toBe(true);
});

test("policy decides on snapshots by name, and one taken under another policy is refused", async () => {
  using data = testData();
  {
    await using agent = await connect(data);
    expect((await agent.call("snapshotSession", { snapshot: "a" })).isError).toBe(false);
  }
  await using developer = await connect(data, ["--policy", shippedPolicy("development")]);
  const refused = await developer.call("restoreSession", { snapshot: "a" });
  expect(refused.text).toMatch(/^SNAPSHOT_UNUSABLE/);
  await using locked = await connect(data, ["--policy", shippedPolicy("locked-down")]);
  const { tools } = await locked.client.listTools();
  expect(tools.map((it) => it.name).filter((it) => /snapshot|restore|fork/i.test(it))).toEqual([]);
  expect((await locked.call("restoreSession", { snapshot: "a" })).text).toMatch(/^(DENIED|UNKNOWN_TOOL)/);
});

test("a gateway killed while it saves or restores leaves no half of a snapshot, no machine, no file", {
  timeout: 400_000,
}, async () => {
  using data = testData();
  const kill = async (tool: string, afterMs: number) => {
    const victim = await connect(data);
    await victim.call("exec", { argv: ["true"] });
    const orphans = machinePids(data);
    const cut = victim.call(tool, { snapshot: tool === "snapshotSession" ? `cut-${afterMs}` : "whole" });
    cut.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    orphans.push(...machinePids(data));
    process.kill(victim.pid, "SIGKILL");
    await processGone(victim.pid);
    for (const pid of orphans) await processGone(pid);
  };
  {
    await using agent = await connect(data);
    await agent.call("writeFile", { path: "/workspace/a", content: "whole" });
    expect((await agent.call("snapshotSession", { snapshot: "whole" })).isError).toBe(false);
  }
  for (const afterMs of [200, 900]) await kill("snapshotSession", afterMs);
  for (const afterMs of [300, 1_200]) await kill("restoreSession", afterMs);

  await using next = await connect(data);
  const { snapshots } = (await next.call("listSessions")).result;
  expect(snapshots.map((it: { name: string }) => it.name)).toContain("whole");
  const kept = readdirSync(join(data.directory, "snapshots")).filter((it) => it !== "lock");
  expect(kept).toHaveLength(snapshots.length);
  for (const id of kept) expect(existsSync(join(data.directory, "snapshots", id, "machine.json"))).toBe(true);
  expect(readdirSync(join(data.directory, "state", "gateways"))).toHaveLength(1);
  expect(machinePids(data)).toEqual([]);
  expect((await next.call("restoreSession", { snapshot: "whole" })).isError).toBe(false);
  expect(await text(next, "/workspace/a")).toBe("whole");
  await next[Symbol.asyncDispose]();
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});
