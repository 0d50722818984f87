import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditRecords, ENTRY, machinePids, processGone, testData } from "../support/gateway.ts";

const CALLS = 24;

/** The most that it ever had. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

test("a client that asks for much and never reads costs bounded memory, and its end ends all [G6] [G13]", async () => {
  using data = testData();
  const env = { ...process.env, GLOVEBOX_DATA_DIR: data.directory };
  const server = spawn(process.execPath, [ENTRY, "serve", "--spares", "0"], { env, stdio: ["pipe", "pipe", "ignore"] });
  const pid = Number(server.pid);
  try {
    const send = (message: object) => server.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
    const client = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "deaf", version: "1" } };
    send({ id: 0, method: "initialize", params: client });
    send({ method: "notifications/initialized" });
    const ask = (id: number, script: string) =>
      send({
        id,
        method: "tools/call",
        params: { name: "shell", arguments: { script }, _meta: { progressToken: `p${id}` } },
      });
    ask(1, "true");
    const outcomes = () => auditRecords(data).filter((it) => it.body.kind === "outcome").length;
    await expect.poll(outcomes, { timeout: 120_000, interval: 200 }).toBe(1);
    const before = peakMiB(pid);
    // Each prints ten times what a result holds, a little at a time, so that there is progress to tell of.
    for (let n = 0; n < CALLS; n += 1)
      ask(2 + n, "for i in 1 2 3 4 5; do head -c 200000 /dev/zero | tr '\\0' x; sleep 0.2; done");
    await expect.poll(outcomes, { timeout: 180_000, interval: 200 }).toBe(1 + CALLS);
    expect(peakMiB(pid) - before).toBeLessThan(128);
    // One that is still running when the client goes, with the pipe full of what nobody read.
    ask(1_000, "sleep 300");
    const intents = () => auditRecords(data).filter((it) => it.body.kind === "intent").length;
    await expect.poll(intents).toBe(2 + CALLS);
    server.stdin.end();
    const startedMs = performance.now();
    await processGone(pid);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(machinePids(data)).toEqual([]);
    expect(outcomes()).toBe(2 + CALLS);
    expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
  } finally {
    server.kill("SIGKILL");
  }
});
