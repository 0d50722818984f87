import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { mountTmpfs } from "../support/file-system.ts";
import { auditRecords, connect, machinePids, type TestData, testData } from "../support/gateway.ts";

/** The file system on which machines have their disks runs full. */
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("skipped: a file system that is full can be made by root only (mount)");

const MIB = 1024 * 1024;

/** A part of the data directory on a file system of its own. */
function small(data: TestData, part: "state" | "audit", size: string): string {
  const directory = join(data.directory, part);
  mkdirSync(directory);
  return mountTmpfs(directory, `size=${size},mode=0711`);
}

/** A little larger than what must be free to open a machine. */
const smallState = (data: TestData) => small(data, "state", "1200m");

function fill(directory: string, leaveMiB: number): void {
  const { bavail, bsize } = statfsSync(directory);
  const bytes = bavail * bsize - leaveMiB * MIB;
  writeFileSync(join(directory, "ballast"), Buffer.alloc(bytes));
}

const release = (directory: string) => rmSync(join(directory, "ballast"));

test.runIf(isRoot)(
  "no room on the host: a new sandbox and a snapshot are refused and say what to do, open ones go on; with room all works again",
  async () => {
    const data = testData();
    onTestFinished(() => data[Symbol.dispose]());
    const state = smallState(data);
    await using agent = await connect(data, ["--spares", "0"]);
    expect((await agent.call("exec", { argv: ["true"] })).isError).toBe(false);
    fill(state, 500);
    const refused = await agent.call("openSession", {});
    expect(refused.text).toMatch(/^DISK_FULL[\s\S]*1024 MiB are needed[\s\S]*on the host, free space/);
    expect((await agent.call("snapshotSession", { snapshot: "a" })).text).toMatch(/^DISK_FULL/);
    expect((await agent.call("exec", { argv: ["echo", "fine"] })).result.stdout).toBe("fine\n");
    expect(machinePids(data)).toHaveLength(1);
    release(state);
    const opened = await agent.call("openSession", {});
    expect(opened.isError, opened.text).toBe(false);
    expect((await agent.call("listSessions")).result).toMatchObject({ snapshots: [] });
  },
);

test.runIf(isRoot)(
  "no room for the audit log: calls are refused and nothing runs; with room they are taken again [G5]",
  async () => {
    const data = testData();
    onTestFinished(() => data[Symbol.dispose]());
    const audit = small(data, "audit", "8m");
    await using agent = await connect(data, ["--spares", "0"]);
    expect((await agent.call("exec", { argv: ["true"] })).isError).toBe(false);
    fill(audit, 0);
    // What is in the block that is open already may still be written.
    const refused = await expect
      .poll(() => agent.call("exec", { argv: ["touch", "/workspace/it-ran"] }).then((it) => it.text), {
        timeout: 60_000,
      })
      .toMatch(/^AUDIT_UNWRITABLE[\s\S]*glovebox doctor/)
      .then(() => agent.call("exec", { argv: ["touch", "/workspace/it-ran-again"] }));
    expect(refused.text).toMatch(/^AUDIT_UNWRITABLE/);
    release(audit);
    const listed = await agent.call("exec", { argv: ["ls", "/workspace"] });
    expect(listed.isError, listed.text).toBe(false);
    expect(listed.result.stdout).not.toContain("it-ran-again");
    await agent[Symbol.asyncDispose]();
    expect((await verifyLog(audit)).problems).toEqual([]);
  },
);

test.runIf(isRoot)(
  "a sandbox whose disk can't grow on the host sees errors, or is lost; its neighbour and the log see nothing [G6] [G14]",
  async () => {
    const data = testData();
    onTestFinished(() => data[Symbol.dispose]());
    const state = smallState(data);
    await using agent = await connect(data, ["--spares", "0"]);
    expect((await agent.call("exec", { argv: ["true"] })).isError).toBe(false);
    const { sessionId } = (await agent.call("openSession", {})).result;
    fill(state, 8);
    const writes =
      "import os\nwith open('/workspace/big', 'wb') as f:\n  for _ in range(64): f.write(os.urandom(1 << 20)); f.flush(); os.fsync(f.fileno())";
    const written = await agent.call("exec", { argv: ["python3", "-c", writes], timeoutMs: 120_000 });
    if (written.isError) expect(written.text).toMatch(/^MACHINE_LOST/);
    else expect(written.result.exitCode === 0 && written.result.endedBy === "exit").toBe(false);
    const neighbour = await agent.call("exec", { argv: ["sh", "-c", "cat /etc/os-release | wc -l"], sessionId });
    expect(neighbour.result, neighbour.text).toMatchObject({ exitCode: 0 });
    release(state);
    const afresh = await agent.call("resetSession");
    expect(afresh.isError, afresh.text).toBe(false);
    const kept = await agent.call("writeFile", { path: "/workspace/a", content: "works" });
    expect(kept.isError, kept.text).toBe(false);
    await agent[Symbol.asyncDispose]();
    const bodies = auditRecords(data).map((it) => it.body);
    for (const it of bodies.filter((body) => body.kind === "intent"))
      expect(bodies.filter((body) => body.kind === "outcome" && body.callId === it.callId)).toHaveLength(1);
    expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
  },
);
