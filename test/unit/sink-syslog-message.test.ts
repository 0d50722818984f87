import fc from "fast-check";
import { expect, test } from "vitest";
import { bodyText } from "../../src/audit/body.ts";
import { MAX_BODY_BYTES, readLine, sealLine } from "../../src/audit/line.ts";
import type { Entry } from "../../src/audit/read.ts";
import { EVENTS, type RecordBody } from "../../src/audit/record.ts";
import { framed, syslogMessages } from "../../src/audit/sinks/syslog-message.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { isSound } from "../support/sinks.ts";
import { joinParts, parseSyslog, unframe } from "../support/syslog-parse.ts";

const origin = { facility: 13, hostName: "gateway-7.example", appName: "glovebox", maxMessageBytes: 8192 };

function entryOf(body: RecordBody, chain = "chain-0mb1x2y3z0123456789abcdef", gateway = "gw-1"): Entry {
  const envelope = { chain, gateway, time: "2026-11-21T10:00:00.000Z" };
  const { line } = sealLine(envelope, { seq: 41, hash: "0".repeat(64) }, bodyText(body));
  const text = line.trimEnd();
  const read = readLine(Buffer.from(text));
  if (!read.sound) throw new Error(read.message);
  return { record: read.record, text };
}

const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constantFrom(
    '"',
    "]",
    "\\",
    '\\"]',
    "\n<13>1 - - - - - -",
    "\ufeff",
    "\u007f\u0080\u2028",
    '"] [x@1 a="',
    "\ud83d\ude00",
  ),
);

test("a message has what RFC 5424 wants of it, and the record's JSON", () => {
  const entry = entryOf(intent("call-1"));
  const [message = "", ...others] = syslogMessages(entry, origin);
  expect(others).toEqual([]);
  const { data, text, ...header } = parseSyslog(message);
  expect(header).toEqual({
    priority: 13 * 8 + 6,
    timestamp: "2026-11-21T10:00:00.000Z",
    hostName: "gateway-7.example",
    appName: "glovebox",
    processId: "gw-1",
    messageId: "intent",
  });
  expect(text).toBe(entry.text);
  expect(Object.fromEntries(data.get("glovebox@32473") ?? [])).toEqual({
    id: `${entry.record.chain}/42`,
    chain: entry.record.chain,
    seq: "42",
    hash: entry.record.hash,
    callId: "call-1",
    sessionId: "ses-1",
    tool: "exec",
    decision: "permit",
  });
});

test("a connection or package names the calls on whose behalf it was, as many as fit", () => {
  const callsOf = (...calls: string[]) => {
    const [message = ""] = syslogMessages(entryOf(event({ calls }, "connection-opened")), origin);
    return parseSyslog(message).data.get("glovebox@32473")?.get("calls");
  };
  expect(callsOf()).toBeUndefined();
  expect(callsOf("call-1")).toBe("call-1");
  expect(callsOf("call-1", '"] [x@1 a="', "no id", "call-2")).toBe("call-1 call-2");
  const ids = Array.from({ length: 100 }, (_, n) => `call-0mwplkhd1${String(n).padStart(16, "0")}`);
  expect(callsOf(...ids)).toBe(ids.slice(0, 12).join(" "));
});

test("what was refused, failed or lost is a warning", () => {
  const severityOf = (body: RecordBody) => parseSyslog(syslogMessages(entryOf(body), origin)[0] ?? "").priority % 8;
  expect(severityOf({ ...intent("call-1"), decision: "deny" })).toBe(4);
  expect(severityOf({ ...outcome("call-1"), status: "interrupted" })).toBe(4);
  expect(severityOf({ ...outcome("call-1"), status: "error" })).toBe(4);
  expect(severityOf(outcome("call-1"))).toBe(6);
  expect(EVENTS.filter((name) => severityOf(event({}, name)) === 4).toSorted()).toEqual([
    ...["approval-refused", "connection-refused", "log-recovered", "logging-failed", "package-refused"],
    ...["placeholder-refused", "policy-rejected", "session-lost", "session-refused", "skill-refused"],
  ]);
  for (const name of EVENTS) expect([4, 6]).toContain(severityOf(event({}, name)));
});

test("every event's name is a message id", () => {
  for (const name of EVENTS) {
    const [message = ""] = syslogMessages(entryOf(event({}, name)), origin);
    expect(parseSyslog(message).messageId).toBe(name);
  }
});

test("nothing that a record holds leaves its place in the message", () => {
  fc.assert(
    fc.property(hostile, hostile, hostile, hostile, (tool, callId, sessionId, gateway) => {
      const body = { ...intent(`c${callId}`, { text: tool }), tool, sessionId };
      const entry = entryOf(body, `x${gateway}`, `g${gateway}`);
      for (const maxMessageBytes of [2048, 8192]) {
        const messages = syslogMessages(entry, { ...origin, hostName: gateway, maxMessageBytes });
        for (const message of messages) {
          expect(message).toMatch(/^[\x20-\x7e]+$/);
          expect(message.length).toBeLessThanOrEqual(maxMessageBytes);
        }
        expect(unframe(messages.map(framed).join(""))).toEqual(messages);
        const [joined] = joinParts(messages.map(parseSyslog));
        expect(JSON.parse(joined?.json ?? "")).toEqual(entry.record);
        expect(isSound(joined?.json ?? "")).toBe(true);
        expect(joined?.hash).toBe(entry.record.hash);
      }
    }),
    { numRuns: 300 },
  );
});

test("the longest record comes in numbered parts that make it up again", () => {
  // Three bytes that become six characters each, and a redaction rule has no interest in them.
  const facts = Array.from({ length: 17 }, () => "\u20ac".repeat(5_000));
  const calls = Array.from({ length: 100 }, (_, n) => `call-${n}`);
  const quotes = '"'.repeat(80);
  const body = { ...event({ facts, calls }, "connection-refused"), sessionId: quotes, callId: quotes };
  const entry = entryOf(body, quotes);
  expect(Buffer.byteLength(entry.text)).toBeGreaterThan(MAX_BODY_BYTES * 0.9);
  const longest = "h".repeat(255);
  const messages = syslogMessages(entry, {
    ...origin,
    hostName: longest,
    appName: "a".repeat(48),
    maxMessageBytes: 2048,
  });
  expect(messages.length).toBeGreaterThan(300);
  const parsed = messages.map(parseSyslog);
  const numbers = parsed.map(({ data }) => data.get("glovebox@32473")?.get("part"));
  expect(numbers).toEqual(messages.map((_, at) => String(at + 1)));
  for (const message of messages) expect(message.length).toBeLessThanOrEqual(2048);
  expect(joinParts(parsed).map(({ json }) => JSON.parse(json))).toEqual([entry.record]);
});

test("a record that was cut off between parts and sent again is there once, whole", () => {
  const entry = entryOf(event(["x".repeat(10_000)]));
  const messages = syslogMessages(entry, { ...origin, maxMessageBytes: 2048 }).map(parseSyslog);
  const joined = joinParts([...messages.slice(0, 2), ...messages]);
  expect(joined.map(({ json }) => JSON.parse(json))).toEqual([entry.record]);
});
