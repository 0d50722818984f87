import { rmSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import type { AuditWriter, EventBody, RecordBody } from "../../src/audit/record.ts";
import type { Target } from "../../src/egress/gate.ts";
import { Traffic } from "../../src/egress/traffic.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";

const target: Target = { host: "example.org", port: 443, scheme: "https" };
const verdict: Verdict = { permitted: true, reason: "", policies: ["profile.yaml#egress.allow.1"] };

interface Kept {
  readonly traffic: Traffic;
  readonly records: RecordBody[];
  /** What the log was told of. */
  readonly logged: unknown[];
  facts(event: EventBody["event"]): Record<string, unknown>[];
}

function keep(audit?: AuditWriter, callsRunning: () => readonly string[] = () => ["call-1"]): Kept {
  const records: RecordBody[] = [];
  const logged: unknown[] = [];
  const log = { error: (facts: unknown) => logged.push(facts) };
  const writer = audit ?? { append: async (body: RecordBody) => void records.push(body) };
  const traffic = new Traffic({ audit: writer, sessionId: "ses-1", log: log as never, callsRunning });
  const facts = (event: EventBody["event"]) =>
    records.flatMap((it) => (it.kind === "event" && it.event === event ? [it.facts as Record<string, unknown>] : []));
  return { traffic, records, logged, facts };
}

test("a connection is open when its record is written, not before", async () => {
  const writing = Promise.withResolvers<void>();
  const appended: RecordBody[] = [];
  const { traffic } = keep({
    append: (body) => {
      appended.push(body);
      return writing.promise;
    },
  });
  let isOpen = false;
  const opening = traffic.open(target, verdict).then(() => {
    isOpen = true;
  });
  await new Promise(setImmediate);
  expect([appended.length, isOpen]).toEqual([1, false]);
  writing.resolve();
  await opening;
  expect(isOpen).toBe(true);
});

test("its two records are of one connection, and the second has what it moved", async () => {
  const calls = ["call-1", "call-2"];
  const { traffic, records, facts } = keep(undefined, () => calls);
  const passage = await traffic.open(target, verdict);
  calls.pop();
  for (const bytes of [10, 0, 5]) passage.sent(bytes);
  passage.received(1_000);
  passage.request([]);
  passage.request(["B", "A"]);
  passage.request(["A"]);
  passage.reached("192.0.2.7");
  passage.close();
  passage.close();
  const [opened] = facts("connection-opened");
  expect(opened).toEqual({
    connectionId: expect.stringMatching(/^conn-/),
    ...target,
    policies: verdict.policies,
    calls: ["call-1", "call-2"],
  });
  expect(facts("connection-closed")).toEqual([
    {
      connectionId: opened?.["connectionId"],
      host: "example.org",
      port: 443,
      address: "192.0.2.7",
      sentBytes: 15,
      receivedBytes: 1_000,
      durationMs: expect.any(Number),
      requests: 3,
      filledIn: ["A", "B"],
    },
  ]);
  expect(records.map((it) => "sessionId" in it && it.sessionId)).toEqual(["ses-1", "ses-1"]);
});

test("what is moved is told as it moves, of all connections together", async () => {
  const told: number[] = [];
  const traffic = new Traffic({
    audit: { append: async () => undefined },
    sessionId: "ses-1",
    log: {} as never,
    callsRunning: () => [],
    onBytes: (bytes) => told.push(bytes),
  });
  const [first, second] = [await traffic.open(target, verdict), await traffic.open(target, verdict)];
  first.sent(10);
  second.received(1_000);
  expect(told).toEqual([10, 1_000]);
  first.close();
  expect(told).toHaveLength(2);
});

test("what was not there is not recorded: no requests, no secrets, no address", async () => {
  const { traffic, facts } = keep();
  (await traffic.open(target, verdict)).close();
  const [closed = {}] = facts("connection-closed");
  expect(Object.keys(closed).toSorted()).toEqual([
    "connectionId",
    "durationMs",
    "host",
    "port",
    "receivedBytes",
    "sentBytes",
  ]);
});

test("[G5] nothing is let through when the audit log can't be written; a refusal stays one, and the log is told", async () => {
  const directory = scratch();
  await using log = await openAuditLog({ directory, gateway: "gw-test" });
  const { traffic, logged } = keep(log);
  const passage = await traffic.open(target, verdict);
  traffic.refuse(target, "no policy grants it");
  passage.close();
  await eventually(() => expect(recordsOf(onlyChain(directory))).toHaveLength(3));
  rmSync(onlyChain(directory), { recursive: true });
  await expect(traffic.open(target, verdict)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(traffic.open(target, verdict)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(traffic.refuse(target, "no policy grants it")).toBe("`example.org:443` blocked: no policy grants it");
  await eventually(() =>
    expect(logged).toMatchObject([
      { sessionId: "ses-1", event: "connection-refused", err: { code: "AUDIT_UNWRITABLE" } },
    ]),
  );
  expect(traffic.refusalsSince(0)).toMatchObject([{ count: 2 }]);
});

test("[G5] real records of connections are what a log takes", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    const { traffic, logged } = keep(log);
    const passage = await traffic.open(target, verdict);
    passage.request(["TOKEN"]);
    passage.reached("192.0.2.7");
    passage.close();
    traffic.refuse({ host: "b.org", port: 0 }, "reason", {
      policies: ["p"],
      event: "placeholder-refused",
    });
    await new Promise(setImmediate);
    expect(logged).toEqual([]);
  }
  const events = recordsOf(onlyChain(directory)).flatMap(({ body }) => (body.kind === "event" ? [body] : []));
  expect(events.map((it) => it.event)).toEqual(["connection-opened", "connection-closed", "placeholder-refused"]);
  expect(events[1]?.facts).toMatchObject({ filledIn: ["TOKEN"] });
  expect(events.at(-1)?.facts).toEqual({
    host: "b.org",
    port: 0,
    reason: "reason",
    policies: ["p"],
    calls: ["call-1"],
  });
});

test("a refusal says where to and why; an IPv6 address has brackets", () => {
  const { traffic, facts } = keep();
  expect(traffic.refuse(target, "r")).toBe("`example.org:443` blocked: r");
  expect(traffic.refuse({ host: "2001:db8::1", port: 80 }, "r", { policies: ["p"] })).toBe(
    "`[2001:db8::1]:80` blocked: r",
  );
  expect(facts("connection-refused")).toEqual([
    { host: "example.org", port: 443, reason: "r", policies: [], calls: ["call-1"] },
    { host: "2001:db8::1", port: 80, reason: "r", policies: ["p"], calls: ["call-1"] },
  ]);
});

test("the same refusal is told once, with how often since then", () => {
  const { traffic } = keep();
  const refuse = (host: string) => traffic.refuse({ host, port: 443 }, "r");
  for (const it of ["a", "b", "a", "a"]) refuse(it);
  expect(traffic.refusalsSince(0)).toEqual([
    { text: "`a:443` blocked: r", count: 3 },
    { text: "`b:443` blocked: r", count: 1 },
  ]);
  const { mark } = traffic;
  expect([mark, traffic.refusalsSince(mark)]).toEqual([4, []]);
  refuse("b");
  expect(traffic.refusalsSince(mark)).toEqual([{ text: "`b:443` blocked: r", count: 1 }]);
});

test("thirty-two refusals are kept, whatever is tried", () => {
  const { traffic } = keep();
  for (let n = 0; n < 1_000; n++) traffic.refuse({ host: `h${n}`, port: 443 }, "r");
  const kept = traffic.refusalsSince(0);
  expect(kept).toHaveLength(32);
  expect([kept[0]?.text, kept.at(-1)?.text]).toEqual(["`h968:443` blocked: r", "`h999:443` blocked: r"]);
  expect(traffic.mark).toBe(1_000);
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("sixty-four refusals are recorded at once and then one a second; the next one counts those between", async () => {
  const { traffic, facts } = keep();
  const refuse = (times: number) => {
    for (let n = 0; n < times; n++) traffic.refuse(target, "r");
  };
  const recorded = () => facts("connection-refused");
  refuse(100);
  expect(recorded()).toHaveLength(64);
  expect(recorded().some((it) => "unrecordedBefore" in it)).toBe(false);
  vi.advanceTimersByTime(999);
  refuse(1);
  expect(recorded()).toHaveLength(64);
  vi.advanceTimersByTime(1);
  refuse(3);
  expect(recorded()).toHaveLength(65);
  expect(recorded().at(-1)).toMatchObject({ unrecordedBefore: 37 });
  vi.advanceTimersByTime(1_000);
  refuse(1);
  expect(recorded().at(-1)).toMatchObject({ unrecordedBefore: 2 });
  vi.advanceTimersByTime(1_000);
  refuse(1);
  expect(recorded().at(-1)).not.toHaveProperty("unrecordedBefore");
  expect(recorded()).toHaveLength(67);
  // What was not used is kept, up to as many as at first.
  vi.advanceTimersByTime(3_600_000);
  refuse(100);
  expect(recorded()).toHaveLength(67 + 64);
  expect(traffic.refusalsSince(0)).toMatchObject([{ count: 100 + 1 + 3 + 1 + 1 + 100 }]);
});
