import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test, vi } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { auditCommand } from "../../src/cli/audit.ts";
import { asGatewayError } from "../../src/errors.ts";
import { openKeptBodies } from "../../src/kept-bodies.ts";
import { createLog } from "../../src/log.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";
import { chains, recordsOf, scratch } from "../support/audit.ts";
import { intent, outcome } from "../support/audit-bodies.ts";
import { filesBelow, testBodies } from "../support/bodies.ts";
import { runCommand } from "../support/command.ts";

const DAY_MS = 86_400_000;
const ESCAPE = "\u001b[2J\u202e";

/** The command in this process. */
async function audit(data: string, ...args: string[]) {
  const command = auditCommand({
    version: "0.0.0",
    directory: (dataDir = "") => join(dataDir, "audit"),
    keyFile: (dataDir = "") => join(dataDir, "keys", "audit.key"),
    indexFile: (dataDir = "") => join(dataDir, "index.sqlite"),
    dataDirectory: (dataDir = "") => dataDir,
    sinks: async () => [],
    ports: () => ({
      authorities: async () => [],
      secret: () => async () => "",
      hide: (text) => text,
      version: "0.0.0",
    }),
  });
  try {
    return await runCommand(command, [...args, "--data-dir", data]);
  } catch (error) {
    const { code, message } = asGatewayError(error);
    return { status: 1, stdout: "", stderr: `${code}: ${message}` };
  }
}

const bodies = (data: string, ...args: string[]) => audit(data, "bodies", ...args);

/** Records of some days ago, by which to tell that the clock is right. */
async function recordOn(data: string, daysAgo: number): Promise<void> {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - daysAgo * DAY_MS });
  try {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-before" });
    await log.append(intent(`call-${daysAgo}-ago`));
  } finally {
    vi.useRealTimers();
  }
}

/** A data directory with two calls, of today and of ten days ago, and other records before them. */
async function dataDirectory(recordsOn: readonly number[] = []): Promise<string> {
  const data = scratch();
  for (const daysAgo of recordsOn) await recordOn(data, daysAgo);
  await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
  for (const [callId, sessionId, daysAgo] of [
    ["call-1", "ses-1", 10],
    ["call-2", "ses-2", 0],
  ] as const) {
    const { bodies: kept } = testBodies(data, { nowMs: () => Date.now() - daysAgo * DAY_MS });
    const args = { path: "/workspace/a", content: `first\nsecond ${ESCAPE}\n` };
    const result = { text: `wrote it ${ESCAPE}`, structured: { bytes: 7 } };
    const both = {
      arguments: await kept.keep({ sessionId, callId, tool: "exec", name: "arguments" }, args),
      result: await kept.keep({ sessionId, callId, tool: "exec", name: "result" }, result),
    };
    await log.append({ ...intent(callId), sessionId, bodies: { arguments: both.arguments } });
    await log.append({ ...outcome(callId), sessionId, bodies: { result: both.result } });
  }
  return data;
}

test("show prints what went in and came out, with nothing that a terminal acts on; --json has it whole", async () => {
  const data = await dataDirectory();
  const text = await bodies(data, "show", "call-1");
  expect(text.stdout.split("\n")).toEqual([
    ...["arguments", "  path: /workspace/a", "  content:", "    first", "    second \ufffd[2J\ufffd", "    "],
    ...["result", "  text: wrote it \ufffd[2J\ufffd", "  structured:", "    {", '      "bytes": 7', "    }", ""],
  ]);
  const json = await bodies(data, "show", "call-1", "result", "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({
    callId: "call-1",
    bodies: [{ name: "result", keyId: expect.stringMatching(/^ses-1\//), content: { text: `wrote it ${ESCAPE}` } }],
  });
  expect(json.stdout).not.toContain("\u202e");
  const { stdout: story } = await audit(data, "show", "call-1");
  expect(story).toContain("  glovebox audit bodies show call-1 arguments\n");
  expect(story).toContain("  glovebox audit bodies show call-1 result\n");
  expect(await bodies(data, "show", "call-9")).toMatchObject({ stderr: expect.stringContaining("no call `call-9`") });
});

test("erase says what is to be chosen, erases that, and puts it on record; verify tells the difference", async () => {
  const data = await dataDirectory();
  expect(await bodies(data, "erase")).toMatchObject({ stderr: expect.stringContaining("--session <id>") });
  expect((await bodies(data, "erase", "--session", "ses-9")).stderr).toContain("the log has no session `ses-9`");
  const chainsBefore = readdirSync(join(data, "audit"));
  expect((await bodies(data, "erase", "--before", "2000-01-01")).stdout).toContain("erased 0 keys");
  expect(readdirSync(join(data, "audit"))).toEqual(chainsBefore);
  expect((await bodies(data, "verify")).stdout).toContain("all are as the log says: 4 kept, 0 erased");
  const erased = await bodies(data, "erase", "--before", "5d");
  expect(erased.stdout).toMatch(/^erased 1 key, and with them 2 bodies of \d+ bytes\n$/);
  expect((await bodies(data, "verify")).stdout).toContain("all are as the log says: 2 kept, 2 erased");
  expect(await bodies(data, "show", "call-1")).toMatchObject({
    status: 1,
    stdout: expect.stringContaining("its key was erased, or removed"),
  });
  expect(await bodies(data, "show", "call-2")).toMatchObject({ status: undefined });
  expect((await verifyLog(join(data, "audit"))).problems).toEqual([]);
  const events = chains(join(data, "audit")).flatMap((it) => recordsOf(join(data, "audit", it)));
  expect(events.map((it) => it.body).filter((it) => it.kind === "event" && it.event === "bodies-erased")).toMatchObject(
    [
      {
        facts: {
          why: "person",
          keyIds: [expect.stringMatching(/^ses-1\//)],
          by: expect.stringMatching(/^local:/),
          bodies: 2,
        },
      },
    ],
  );

  const [file = ""] = filesBelow(join(data, "bodies"));
  writeFileSync(join(data, "bodies", file), "another");
  const changed = await bodies(data, "verify");
  expect(changed).toMatchObject({ status: 1, stdout: expect.stringContaining("its file is not what the log says") });
  expect(JSON.parse((await bodies(data, "verify", "--json")).stdout)).toMatchObject({
    kept: 1,
    erased: 2,
    problemCount: 1,
  });
});

test("bodies are erased while a gateway writes its chain", async () => {
  const data = await dataDirectory();
  await using _running = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-running" });
  expect((await bodies(data, "erase", "--session", "ses-2")).stdout).toContain("erased 1 key");
  expect(chains(join(data, "audit"))).toHaveLength(2);
  expect((await bodies(data, "verify")).stdout).toContain("2 kept, 2 erased");
});

test("no two processes erase at once", async () => {
  const data = await dataDirectory();
  const lock = join(data, "bodies", ".lock");
  const script = `const { DatabaseSync } = require("node:sqlite"); const d = new DatabaseSync(${JSON.stringify(lock)});
    d.exec("BEGIN EXCLUSIVE"); console.log("held"); setInterval(() => undefined, 1e6);`;
  const holder = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void holder.kill("SIGKILL"));
  await once(createInterface({ input: holder.stdout }), "line");
  expect(await bodies(data, "erase", "--session", "ses-1")).toMatchObject({
    stderr: expect.stringContaining("another process is erasing"),
  });
  expect((await bodies(data, "verify")).stdout).toContain("4 kept, 0 erased");
});

test("a gateway erases what is older than policy says at its start, of whichever gateway it was", async () => {
  for (const [retention, kept, days] of [
    [{}, 4, [10, 1]],
    [{ bodyDays: 30 }, 4, [10, 1]],
    [{ bodyDays: 9 }, 2, [10, 1]],
    [{ recordDays: 9 }, 2, [10, 1]],
    [{ bodyDays: 30, recordDays: 9 }, 2, [10, 1]],
    [{ bodyDays: 1 }, 2, [10, 1]],
    // The clock may have jumped.
    [{ bodyDays: 9 }, 4, []],
  ] as const) {
    const data = await dataDirectory(days);
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-2" });
    const policy = holdPolicy({
      ...{ identity: { name: "test", version: "1.0.0", digest: "sha256:0" }, layers: [], shadows: [] },
      ...{ sets: { enforced: "" }, vocabulary: OWN_VOCABULARY },
      profile: profileSchema.parse({ audit: { retention } }),
    });
    {
      await using _bodies = openKeptBodies({
        dataDirectory: data,
        auditDirectory: join(data, "audit"),
        policy,
        audit: log,
        log: createLog("silent"),
        hide: (it) => it,
      });
    }
    expect((await bodies(data, "verify")).stdout).toContain(`${kept} kept, ${4 - kept} erased`);
    expect(filesBelow(join(data, "bodies"))).toHaveLength(kept);
  }
});

test("what policy keeps out of the log is kept out of bodies: of any tool, or of one", async () => {
  const data = scratch();
  const log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
  await using _log = log;
  const redact = ["customerId", "exec.stdin"];
  const policy = holdPolicy({
    ...{ identity: { name: "test", version: "1.0.0", digest: "sha256:0" }, layers: [], shadows: [] },
    ...{ sets: { enforced: "" }, vocabulary: OWN_VOCABULARY },
    profile: profileSchema.parse({ audit: { bodies: "encrypted", redact } }),
  });
  const ports = {
    dataDirectory: data,
    auditDirectory: join(data, "audit"),
    policy,
    audit: log,
    log: createLog("silent"),
    hide: (it: string) => it,
  };
  await using kept = openKeptBodies(ports);
  const args = { customerId: "C-1234", stdin: "typed", more: "customer_id=C-1234 stays" };
  for (const [callId, tool] of [
    ["call-1", "exec"],
    ["call-2", "shell"],
  ] as const) {
    const body = await kept.keep({ sessionId: "ses-1", callId, tool, name: "arguments" }, args);
    await log.append({ ...intent(callId), tool, bodies: { arguments: body } });
  }
  const shown = async (callId: string) =>
    JSON.parse((await bodies(data, "show", callId, "--json")).stdout).bodies[0].content;
  const more = "customer_id=[redacted:policy] stays";
  expect(await shown("call-1")).toEqual({ customerId: "[redacted:policy]", stdin: "[redacted:policy]", more });
  expect(await shown("call-2")).toEqual({ customerId: "[redacted:policy]", stdin: "typed", more });
});
