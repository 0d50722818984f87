import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditRecords, connect, machinePids, roomyPolicy, testData } from "../support/gateway.ts";

const LONG = { timeout: 400_000 };

/** Text of an error that is an answer, and not a fault of the gateway. */
const ANSWER =
  /^(SNAPSHOT_(EXISTS|LIMIT|NOT_FOUND|UNUSABLE)|SESSION_(LIMIT|CLOSED|NOT_FOUND)|MACHINE_LOST|HOST_BUSY|STILL_PREPARING|CANCELLED|BOOT_FAILED)/;

test(
  "everything at once on one session: nothing is left over, no limit is passed, every call ends once [G6] [G14]",
  LONG,
  async () => {
    using data = testData();
    await using agent = await connect(data, ["--spares", "0", "--policy", roomyPolicy(data, 4)]);
    await agent.call("writeFile", { path: "/workspace/a", content: "kept" });
    expect((await agent.call("snapshotSession", { snapshot: "kept" })).isError).toBe(false);
    const kinds: [string, Record<string, unknown>][] = [
      ["snapshotSession", { snapshot: "same" }],
      ["snapshotSession", { snapshot: "same" }],
      ["restoreSession", { snapshot: "kept" }],
      ["forkSession", {}],
      ["exec", { argv: ["sh", "-c", "head -c 3000000 /dev/urandom | sha256sum"] }],
      ["restoreSession", { snapshot: "kept" }],
      ["writeFile", { path: "/workspace/b", content: "x".repeat(1_000_000) }],
      ["forkSession", { snapshot: "kept" }],
      ["forkSession", {}],
      ["resetSession", {}],
      ["forkSession", {}],
      ["snapshotSession", { snapshot: "other" }],
      ["deleteSnapshot", { snapshot: "same" }],
      ["listSessions", {}],
    ];
    const answers = await Promise.all(
      kinds.map(async ([tool, args], n) => {
        await new Promise((resolve) => setTimeout(resolve, n * 60));
        return { tool, ...(await agent.call(tool, args, { timeoutMs: 200_000 })) };
      }),
    );
    for (const it of answers)
      if (it.isError) expect(`${it.tool} ${it.text}`).toMatch(new RegExp(`^\\w+ ${ANSWER.source.slice(1)}`));
    const { sessions, snapshots } = (await agent.call("listSessions")).result;
    expect(sessions.length).toBeLessThanOrEqual(4);
    expect(snapshots.filter((it: { name: string }) => it.name === "same").length).toBeLessThanOrEqual(1);
    // One machine each, and none besides.
    await expect.poll(() => machinePids(data).length).toBe(sessions.length);
    expect((await agent.call("restoreSession", { snapshot: "kept" })).isError).toBe(false);
    expect((await agent.call("readFile", { path: "/workspace/a" })).result.content).toBe("kept");
    for (const { sessionId } of sessions) await agent.call("closeSession", { sessionId });
    await expect.poll(() => machinePids(data).length).toBeLessThanOrEqual(1);
    const gateways = join(data.directory, "state", "gateways");
    const machines = () => readdirSync(gateways).flatMap((it) => readdirSync(join(gateways, it, "machines")));
    await expect.poll(() => machines().length).toBe(machinePids(data).length);
    const kept = readdirSync(join(data.directory, "snapshots")).filter((it) => it !== "lock");
    for (const id of kept) expect(existsSync(join(data.directory, "snapshots", id, "machine.json"))).toBe(true);
    await agent[Symbol.asyncDispose]();
    const bodies = auditRecords(data).map((it) => it.body);
    for (const it of bodies.filter((body) => body.kind === "intent"))
      expect(bodies.filter((body) => body.kind === "outcome" && body.callId === it.callId)).toHaveLength(1);
    expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
  },
);

test(
  "programs that flood, fork and hold every stream open do not keep a sandbox from being saved, or a copy from beginning",
  LONG,
  async () => {
    using data = testData();
    await using agent = await connect(data, ["--spares", "0"]);
    const noise = [
      "yes flood",
      "while :; do (sleep 0.01 &); done",
      "head -c 100000000 /dev/zero | tee /workspace/zero > /dev/null; sleep 500",
      "python3 -c 'import os,threading,time\nfor _ in range(50): threading.Thread(target=lambda: time.sleep(500)).start()'",
      "trap '' HUP TERM INT; sleep 500",
    ];
    for (const script of noise) {
      const started = await agent.call("shell", { script, background: true });
      expect(started.isError, started.text).toBe(false);
    }
    const taken = await agent.call("snapshotSession", { snapshot: "noisy" }, { timeoutMs: 200_000 });
    expect(taken.isError, taken.text).toBe(false);
    const running = (await agent.call("listProcesses")).result.processes.filter(
      (it: { state: string }) => it.state === "running",
    );
    expect(running).toHaveLength(noise.length);
    const forked = await agent.call("forkSession", { snapshot: "noisy" }, { timeoutMs: 200_000 });
    expect(forked.isError, forked.text).toBe(false);
    const { sessionId } = forked.result;
    const answered = await agent.call("exec", { argv: ["echo", "a copy"], sessionId, timeoutMs: 100_000 });
    expect(answered.result, answered.text).toMatchObject({ exitCode: 0, stdout: "a copy\n" });
    expect((await agent.call("closeSession", { sessionId })).isError).toBe(false);
    expect((await agent.call("exec", { argv: ["echo", "still here"], timeoutMs: 100_000 })).result.stdout).toBe(
      "still here\n",
    );
  },
);
