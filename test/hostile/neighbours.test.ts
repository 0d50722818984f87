import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditRecords, connect, machinePids, roomyPolicy, testData } from "../support/gateway.ts";

const GOOD = 8;
const CALLS = 4;

/** Each until the machine's limits, or its own deadline, end it. */
const EVIL: Readonly<Record<string, string>> = {
  forks: "import os,time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.2)",
  memory: "x = []\nwhile True: x.append(bytearray(8 << 20))",
  disk: "f = open('/workspace/big', 'wb', 0)\nwhile True: f.write(bytes(8 << 20))",
  output: "import sys\nwhile True: sys.stdout.write('x' * 65536)",
};

test("eight sessions work on while a ninth does its worst; every call ends once, with the right result [G6] [G14]", {
  timeout: 600_000,
}, async () => {
  using data = testData();
  await using agent = await connect(data, ["--spares", "0", "--policy", roomyPolicy(data, GOOD + 1)]);
  const open = async () => {
    const opened = await agent.call("openSession", {}, { timeoutMs: 240_000 });
    expect(opened.isError, opened.text).toBe(false);
    return opened.result.sessionId as string;
  };
  const sessions: string[] = [];
  for (let n = 0; n < GOOD; n += 1) sessions.push(await open());
  const evil = await open();
  expect(machinePids(data)).toHaveLength(GOOD + 1);

  const misbehaving = Object.values(EVIL).map((code) =>
    agent.call("exec", { argv: ["python3", "-c", code], sessionId: evil, timeoutMs: 20_000, yieldMs: 60_000 }),
  );
  const work = async (sessionId: string, n: number) => {
    for (let round = 0; round < CALLS; round += 1) {
      const content = `${n}/${round}`;
      const written = await agent.call("writeFile", { path: "/workspace/a", content, sessionId });
      expect(written.isError, written.text).toBe(false);
      const ran = await agent.call("exec", { argv: ["cat", "/workspace/a"], sessionId, timeoutMs: 120_000 });
      expect(ran.result, ran.text).toMatchObject({ exitCode: 0, stdout: content });
    }
  };
  await Promise.all(sessions.map(work));
  for (const it of await Promise.all(misbehaving)) {
    // Its own deadline, a limit, or what it found when there was nothing left of something.
    if (it.isError) expect(it.text).toMatch(/^(MACHINE_LOST|CONTAINER_FAILED|PROCESS_LIMIT|CHANNEL_VIOLATION)/);
    else if (it.result.endedBy === "exit") expect([it.result.exitCode, it.text]).not.toEqual([0, expect.anything()]);
    else expect(it.result.endedBy).toMatch(/^(timeout|out-of-memory|signal|output-limit|machine-lost)$/);
  }
  const after = await agent.call("resetSession", { sessionId: evil });
  expect(after.isError, after.text).toBe(false);
  await agent[Symbol.asyncDispose]();
  expect(machinePids(data)).toEqual([]);
  const bodies = auditRecords(data).map((it) => it.body);
  const intents = bodies.filter((it) => it.kind === "intent");
  expect(intents).toHaveLength(GOOD + 1 + Object.keys(EVIL).length + GOOD * CALLS * 2 + 1);
  for (const { callId } of intents)
    expect(bodies.filter((it) => it.kind === "outcome" && it.callId === callId)).toHaveLength(1);
  expect((await verifyLog(`${data.directory}/audit`)).problems).toEqual([]);
});
