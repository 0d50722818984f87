import { execFile } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import type { Report } from "../../src/compliance/report.ts";
import {
  auditRecords,
  connect,
  ENTRY,
  machinePids,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";

const run = promisify(execFile);

/** One gateway and one sandbox for the tests of this file. */
let data: TestData;
let agent: TestClient;

beforeAll(async () => {
  data = testData();
  agent = await connect(data, ["--spares", "0"]);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  try {
    expect(machinePids(data)).toEqual([]);
  } finally {
    data?.[Symbol.dispose]();
  }
});

async function report(...args: string[]): Promise<{ readonly made: Report; readonly stderr: string }> {
  const asked = ["compliance", "report", "--data-dir", data.directory, "--framework", "all", "--format", "json"];
  const { stdout, stderr } = await run(process.execPath, [ENTRY, ...asked, ...args], { maxBuffer: 64 * 1024 * 1024 });
  return { made: JSON.parse(stdout) as Report, stderr };
}

const inspections = () =>
  auditRecords(data).filter(({ body }) => body.kind === "event" && body.event === "session-inspected");

const statesOf = (made: Report, framework: string) =>
  Object.fromEntries(
    made.frameworks.flatMap(({ id, controls }) => (id === framework ? controls.map((it) => [it.id, it.state]) : [])),
  );

/** For which nothing of a container can be evidence, or of which the machine that we ship has none. */
const WITHOUT = { "5.2": "none", "5.3": "none", "5.7": "not-covered", "5.27": "not-covered" };

test("a gateway without sessions has nothing to inspect, and its socket is for nobody else", async () => {
  const { stderr } = await report("--live");
  expect(stderr).toMatch(/^gw-[0-9a-z]+: 0 sessions inspected$/m);
  const gateways = join(data.directory, "state", "gateways");
  const [gateway = ""] = readdirSync(gateways);
  const directory = join(gateways, gateway, "inspection");
  expect([directory, join(directory, "socket")].map((it) => statSync(it).mode & 0o777)).toEqual([0o700, 0o600]);
});

test("a session that runs is inspected from outside of its container, and the report has it as evidence", async () => {
  const ran = await agent.call("exec", { argv: ["python3", "-c", "print(6 * 7)"] });
  expect(ran.result).toMatchObject({ exitCode: 0, stdout: "42\n" });
  // A program that runs is no hindrance, and goes on.
  const left = await agent.call("exec", { argv: ["sh", "-c", "read line; echo got $line"], background: true });
  const { processId } = left.result;
  const { made, stderr } = await report("--live");
  expect(stderr).toMatch(/^gw-[0-9a-z]+: 1 session inspected$/m);
  const [record, ...more] = inspections();
  expect(more).toEqual([]);
  expect(record?.body).toMatchObject({
    facts: {
      state: "inspected",
      running: 1,
      weaker: [],
      container: { isRunning: true, privileged: false, networkMode: "none", execs: 0, user: "1000:1000" },
      engine: { containers: 1, swarm: "inactive" },
      machine: { isAlive: true, level: "microvm", seccompMode: 2, noNewPrivs: true },
    },
  });
  expect(made.contradicted).toEqual([]);
  const states = statesOf(made, "cis-docker-1.6");
  const section5 = Object.fromEntries(Object.entries(states).filter(([id]) => id.startsWith("5.")));
  const found = Object.keys(section5).filter((id) => !(id in WITHOUT));
  expect(found).toHaveLength(28);
  expect(section5).toEqual({ ...WITHOUT, ...Object.fromEntries(found.map((id) => [id, "found"])) });
  // Evidence is a record of the log: its number and hash are there to find it by.
  const looked = made.checks.filter(({ id }) => /^(container|engine|machine|sessions-inspected)/.test(id));
  for (const { id, state, examples } of looked) {
    if (id === "container-apparmor" || id === "container-selinux") continue;
    expect([id, state]).toEqual([id, "found"]);
    expect(examples.at(-1)).toMatchObject({ seq: record?.seq, hash: record?.hash, chain: record?.chain });
  }
  expect(statesOf(made, "nist-800-53")).toMatchObject({ "CA-7": "found", "CM-6": "found" });

  await agent.call("writeProcess", { processId, stdin: "it\n" });
  await expect.poll(async () => (await agent.call("readProcess", { processId })).result.stdout).toBe("got it\n");
  expect((await verifyLog(join(data.directory, "audit"))).problems).toEqual([]);
});

test("who asks at the same time is told the same, and without --live nothing is inspected", async () => {
  const before = inspections().length;
  const both = await Promise.all([report("--live"), report("--live")]);
  for (const { stderr, made } of both) {
    expect(stderr).toContain(": 1 session inspected\n");
    expect(made.contradicted).toEqual([]);
  }
  const after = inspections().length;
  expect(after - before).toBeGreaterThanOrEqual(1);
  expect(after - before).toBeLessThanOrEqual(2);
  expect((await report()).stderr).toBe("");
  expect(inspections()).toHaveLength(after);
});
