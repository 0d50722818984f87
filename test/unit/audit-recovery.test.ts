import { createHash } from "node:crypto";
import { appendFileSync, cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openAuditLog, type Recovery } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

const bodies = (chain: string) => recordsOf(chain).map((it) => it.body);

/**
 * A log as a gateway leaves it that dies while it writes its last record: the head does not know that one yet.
 * `segmentBytes` small makes the last record the first of a segment.
 */
async function dyingLog(segmentBytes = 1_000_000) {
  const directory = scratch();
  const heads: Buffer[] = [];
  {
    await using log = await openAuditLog({ directory, gateway: "gw-dead", segmentBytes });
    for (const body of [intent("call-1"), outcome("call-1"), intent("call-2"), event({ text: "naïve \ufffd" })]) {
      await log.append(body);
      heads.push(readFileSync(join(onlyChain(directory), "head")));
    }
  }
  const chain = onlyChain(directory);
  const path = join(chain, segments(chain).at(-1) ?? "");
  const whole = readFileSync(path);
  const lastStart = whole.lastIndexOf(10, whole.length - 2) + 1;
  const head = heads.at(-2) ?? Buffer.alloc(0);
  return { directory, chain, path, whole, lastStart, head };
}

async function reopen(directory: string): Promise<Recovery | undefined> {
  let found: Recovery | undefined;
  await using _log = await openAuditLog({
    directory,
    gateway: "gw-next",
    onRecovered: (it) => {
      found = it;
    },
  });
  return found;
}

test("[G6] a record torn at any byte is moved aside, recorded, and the log goes on", async () => {
  const { directory, chain, path, whole, lastStart, head } = await dyingLog();
  for (let end = lastStart + 1; end < whole.length; end++) {
    const copy = scratch();
    cpSync(directory, copy, { recursive: true });
    const copied = (file: string) => file.replace(directory, copy);
    writeFileSync(copied(path), whole.subarray(0, end));
    writeFileSync(join(copied(chain), "head"), head);
    const torn = whole.subarray(lastStart, end);
    const sha256 = createHash("sha256").update(torn).digest("hex");

    const found = await reopen(copy);
    expect(found?.torn).toMatchObject({ segment: "000001.jsonl", bytes: torn.length, sha256 });
    const file = found?.torn?.file ?? "";
    expect(readFileSync(join(copied(chain), file)).equals(torn)).toBe(true);
    expect((await verifyLog(copy)).problems).toEqual([]);
    expect(bodies(copied(chain)).slice(3)).toMatchObject([
      { kind: "event", event: "log-recovered", facts: { segment: "000001.jsonl", file, bytes: torn.length, sha256 } },
      { kind: "outcome", callId: "call-2", status: "interrupted" },
    ]);
  }
});

test("[G6] an unanswered call becomes interrupted exactly once, however often the gateway starts", async () => {
  const { directory, chain } = await dyingLog();
  expect((await reopen(directory))?.interrupted).toEqual(["call-2"]);
  for (let start = 0; start < 3; start++) expect(await reopen(directory)).toBeUndefined();
  const outcomes = bodies(chain).filter((it) => it.kind === "outcome");
  expect(outcomes.map((it) => [it.callId, it.status])).toEqual([
    ["call-1", "ok"],
    ["call-2", "interrupted"],
  ]);
  expect((await verifyLog(directory)).problems).toEqual([]);
});

test("a segment that was made and not written, or torn in its first record, is taken back", async () => {
  for (const kept of [0, 100]) {
    const { directory, chain, path, whole, head } = await dyingLog(1);
    expect(path.endsWith("000004.jsonl")).toBe(true);
    writeFileSync(path, whole.subarray(0, kept));
    writeFileSync(join(chain, "head"), head);
    const found = await reopen(directory);
    expect(found?.interrupted).toEqual(["call-2"]);
    expect(found?.torn?.bytes ?? 0).toBe(kept);
    expect((await verifyLog(directory)).problems).toEqual([]);
  }
});

test("records that were written and never acknowledged are kept", async () => {
  const { directory, chain, head } = await dyingLog();
  writeFileSync(join(chain, "head"), head);
  expect((await reopen(directory))?.torn).toBeUndefined();
  expect(bodies(chain)[3]).toEqual(event({ text: "naïve \ufffd" }));
  expect((await verifyLog(directory)).problems).toEqual([]);
});

test("a chain whose making was cut short is taken up", async () => {
  const { directory } = { directory: scratch() };
  {
    await using _log = await openAuditLog({ directory, gateway: "gw-a" });
  }
  const chain = onlyChain(directory);
  truncateSync(join(chain, "head"), 0);
  expect(readdirSync(chain).sort()).toEqual(["000001.jsonl", "head", "lock"]);
  await expect(reopen(directory)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  const fresh = scratch();
  cpSync(directory, fresh, { recursive: true, filter: (name) => !name.endsWith(".jsonl") });
  expect(await reopen(fresh)).toBeUndefined();
  expect((await verifyLog(fresh)).problems).toEqual([]);
});

test.each([
  [
    "a record in the middle of the last segment",
    (whole: Buffer) => Buffer.from(whole.toString().replace("call-1", "call-9")),
  ],
  ["the last record, with its newline", (whole: Buffer) => Buffer.from(whole.toString().replace("naïve", "naive"))],
  ["a torn record before others", (whole: Buffer) => Buffer.from(whole.toString().replace("\n", ""))],
  ["acknowledged records cut off", (whole: Buffer) => whole.subarray(0, whole.lastIndexOf(10, whole.length - 2) + 1)],
  ["acknowledged record torn", (whole: Buffer) => whole.subarray(0, -5)],
])("[G7] damage that no crash explains refuses to open, and nothing is changed: %s", async (_what, harm) => {
  const { directory, chain, path, whole } = await dyingLog();
  const harmed = harm(whole);
  writeFileSync(path, harmed);
  const before = readdirSync(chain).map((name) => [name, readFileSync(join(chain, name)).toString("base64")]);
  await expect(reopen(directory)).rejects.toMatchObject({
    code: "AUDIT_CORRUPT",
    message: expect.stringMatching(/chain-.*/),
  });
  expect(readdirSync(chain).map((name) => [name, readFileSync(join(chain, name)).toString("base64")])).toEqual(before);
});

test("[G7] a missing segment refuses to open", async () => {
  const { directory, chain } = await dyingLog(1);
  cpSync(join(chain, "000004.jsonl"), join(chain, "000005.jsonl"));
  truncateSync(join(chain, "000004.jsonl"), 0);
  await expect(reopen(directory)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
});

test("an endless tail without a newline is moved aside without being held in memory", async () => {
  const { directory, chain, path } = await dyingLog();
  const block = Buffer.alloc(1024 * 1024);
  for (let at = 0; at < 48; at++) appendFileSync(path, block);
  const beforeBytes = process.memoryUsage().arrayBuffers;
  const found = await reopen(directory);
  expect(found?.torn?.bytes).toBe(48 * 1024 * 1024);
  expect(process.memoryUsage().arrayBuffers - beforeBytes).toBeLessThan(32 * 1024 * 1024);
  expect(recordsOf(chain)).toHaveLength(6);
  expect((await verifyLog(directory)).problems).toEqual([]);
});

test("the outcome of an interrupted call names the session and the trace of its intent, as far as a segment tells", async () => {
  const directory = scratch();
  const trace = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`, tracestate: "vendor=1" };
  {
    await using log = await openAuditLog({ directory, gateway: "gw-dead", segmentBytes: 2_000 });
    await log.append({ ...intent("call-before"), trace });
    for (let n = 0; n < 6; n++) await log.append(event({ n, text: "x".repeat(300) }));
    await log.append({ ...intent("call-last"), trace });
  }
  await reopen(directory);
  const outcomes = recordsOf(onlyChain(directory)).flatMap(({ body }) => (body.kind === "outcome" ? [body] : []));
  expect(outcomes).toMatchObject([
    { callId: "call-before", status: "interrupted" },
    { callId: "call-last", status: "interrupted", sessionId: "ses-1", trace },
  ]);
  expect(outcomes[0]).not.toHaveProperty("trace");
});

test("a trace that redaction has made too long for a record does not keep the log from recording that its call ended", async () => {
  const directory = scratch();
  const trace = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`, tracestate: "v=1" };
  {
    await using log = await openAuditLog({ directory, gateway: "gw-dead" });
    await log.append({ ...intent("call-1"), trace });
  }
  const hide = (text: string) => text.replaceAll("v=1", "x".repeat(2_000));
  {
    await using log = await openAuditLog({ directory, gateway: "gw-next", hide });
    await log.append(event({ on: true }));
  }
  const recorded = bodies(onlyChain(directory));
  expect(recorded[1]).toMatchObject({ kind: "outcome", callId: "call-1", status: "interrupted" });
  expect(recorded[1]).toHaveProperty("trace", { traceparent: trace.traceparent });
});

test("[G6] of what waited for a person, a call that was approved is interrupted, and no other", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-dead", segmentBytes: 1 });
    for (const id of ["call-approved", "call-denied", "call-waiting"]) {
      await log.append({ ...intent(id), decision: "ask" });
      await log.append({ ...event({ approvalId: id }, "approval-requested"), callId: id });
    }
    await log.append({ ...event({ approvalId: "call-approved" }, "approval-given"), callId: "call-approved" });
    await log.append({ ...event({ approvalId: "call-denied" }, "approval-refused"), callId: "call-denied" });
    // A connection that was let through is no call.
    await log.append(event({ approvalId: "connection" }, "approval-given"));
  }
  expect((await reopen(directory))?.interrupted).toEqual(["call-approved"]);
  expect((await reopen(directory))?.interrupted ?? []).toEqual([]);
  expect((await verifyLog(directory)).problems).toEqual([]);
});
