import fc from "fast-check";
import { expect, test } from "vitest";
import { toCef } from "../../src/audit/export/cef.ts";
import { cefLine } from "../../src/audit/export/cef-text.ts";
import { createRecollection, NOTHING_KNOWN } from "../../src/audit/export/recollection.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { wantsAttention } from "../../src/audit/sinks/attention.ts";
import { printable } from "../../src/lib/text.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { anyBody, everyEvent, record } from "../support/audit-records.ts";
import { readCef } from "../support/cef.ts";

/** The lines of a chain's records, each seen with those before. */
function told(...bodies: RecordBody[]) {
  const known = createRecollection();
  return bodies.map((body, seq) => {
    const it = record(body, seq);
    known.note(it);
    return readCef(toCef(it, known));
  });
}

const MAX = { suser: 1_023, act: 63, cs1: 4_000, msg: 1_023 };

test("an intent names who, what and why", () => {
  const [line] = told({ ...intent("call-1"), decision: "deny" });
  expect(line?.header).toEqual(["Glovebox", "Glovebox", "", "intent.deny", "exec was asked for: deny", "5"]);
  expect(Object.fromEntries(line?.fields ?? [])).toEqual({
    ...{ rt: "1795253400123", cat: "intent", act: "deny", outcome: "failure", suser: "local:ada" },
    ...{ sourceServiceName: "test 1.0.0", destinationServiceName: "exec", reason: "programs may run" },
    ...{ deviceExternalId: "gw-1", externalId: `chain-${"0".repeat(9)}${"a".repeat(16)}/0` },
    ...{ cs1: "call-1", cs1Label: "callId", cs2: "ses-1", cs2Label: "sessionId" },
    ...{ cs3: "main.cedar#exec", cs3Label: "policies", cs4: `sha256:${"a".repeat(64)}`, cs4Label: "policyDigest" },
    ...{ cs5: record({ ...intent("call-1"), decision: "deny" }, 0).hash, cs5Label: "recordHash" },
    ...{ cs6: '{"argv":["true"]}', cs6Label: "arguments" },
  });
});

test("policies of the same name are told apart by their layer", () => {
  const policies = (["organisation", "user"] as const).map((layer) => ({
    ...{ id: "run.cedar#exec", effect: "permit" as const, layer },
  }));
  const [line] = told({ ...intent("call-1"), policies });
  expect(line?.fields.get("cs3")).toBe("organisation:run.cedar#exec user:run.cedar#exec");
});

test("an inspection that saw less than was made is an alarm", () => {
  const lines = told(
    ...[{ state: "inspected", weaker: ["it is privileged"] }, { state: "unseen" }, { state: "hibernated" }].map((it) =>
      event(it, "session-inspected"),
    ),
  );
  expect(lines.map((it) => it.header[5])).toEqual(["9", "5", "2"]);
  expect(Object.fromEntries(lines[0]?.fields ?? [])).toMatchObject({ act: "ended", msg: "it is privileged" });
});

test("an answer that does not count is no refusal of a person's", () => {
  const answer = (why: string) => ({ ...event({ why, approver: "local:eve" }, "approval-refused"), callId: "call-1" });
  const [, denied, invalid] = told({ ...intent("call-1"), decision: "ask" }, answer("denied"), answer("invalid"));
  expect(denied?.header.slice(3)).toEqual(["approval-refused", "approval-refused", "5"]);
  expect(denied?.fields.get("act")).toBe("rejected");
  expect(invalid?.header.slice(3)).toEqual(["approval-refused.invalid", "an answer did not count", "6"]);
  expect(Object.fromEntries(invalid?.fields ?? [])).toMatchObject({ act: "ignored", reason: "invalid", cs1: "call-1" });
});

test("what receivers are warned of is more than ordinary, and nothing else is", () => {
  const lines = told(...everyEvent());
  const warned = everyEvent().map(wantsAttention);
  expect(lines.map(({ header }) => [header[3], Number(header[5]) > 2])).toEqual(
    everyEvent().map(({ event: name }, at) => [name, warned[at]]),
  );
  const failed = lines.find(({ header }) => header[3] === "logging-failed");
  expect(failed?.header[5]).toBe("6");
  expect(failed?.fields.get("outcome")).toBe("failure");
});

test("an outcome is told with what its intent said", () => {
  const [, line] = told(intent("call-1"), { ...outcome("call-1", { exitCode: 7 }), status: "error", code: "TIMEOUT" });
  expect(line?.header.slice(3, 5)).toEqual(["outcome.error", "exec ended: TIMEOUT"]);
  expect(Object.fromEntries(line?.fields ?? [])).toMatchObject({
    ...{ suser: "local:ada", outcome: "failure", reason: "TIMEOUT", cn1: "5", cn2: "7", cs1: "call-1" },
  });
});

test("a connection names its host, address and bytes, a package its file and digest", () => {
  const of = (name: string) => everyEvent().filter((it) => it.event === name);
  const [closed, admitted, alarm] = told(
    ...of("connection-closed"),
    ...of("package-admitted"),
    ...of("placeholder-refused"),
  ).map((it) => Object.fromEntries(it.fields));
  expect(closed).toMatchObject({ dhost: "example.org", dpt: "443", dst: "203.0.113.7" });
  // The sandbox, which is the source, sent 100 bytes.
  expect(closed).toMatchObject({ in: "100", out: "2000" });
  expect(admitted).toMatchObject({ fname: "left-pad-1.3.0.tgz", fsize: "900", request: "pkg:npm/left-pad@1.3.0" });
  expect(alarm).toMatchObject({ act: "blocked", outcome: "failure" });
});

test("every kind of event is a line that a strict reader takes", () => {
  for (const line of told(...everyEvent())) expect(line.fields.get("externalId")).toMatch(/^chain-/);
});

test("values come through a strict reader as they were, but for what a line cannot say", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom(
      "a|b=c\\",
      "\\n",
      "x\ny",
      "cs1=\\=",
      " a= b=c",
      "\u2028\0\ud800",
      "\\\\=",
      "act=permit rt=1",
      "=",
      "|",
    ),
  );
  const said = (text: string, maxChars: number) => printable(text, maxChars).replace(/[^\S\n]+$/, "");
  fc.assert(
    fc.property(hostile, hostile, hostile, (suser, msg, name) => {
      const { header, fields } = readCef(cefLine(["v|", "p\\", "1\n", "id", name, 3], { suser, msg, rt: 1 }));
      expect(fields.get("suser") ?? "").toBe(said(suser, MAX.suser));
      expect(fields.get("msg") ?? "").toBe(said(msg, MAX.msg));
      expect(fields.get("rt")).toBe("1");
      expect(header).toEqual(["v|", "p\\", "1 ", "id", printable(name).replaceAll(/[\n\t]/g, " "), "3"]);
    }),
    {
      numRuns: 2_000,
      examples: [
        ["a\\", "", "x|y\\"],
        [" ", "\u00a0", "a \n "],
      ],
    },
  );
});

test("no record, whatever is in it, makes a field that is not its own", () => {
  const known =
    /^(?:rt|cat|act|app|outcome|suser|reason|msg|request|d(?:host|pt|st)|in|out|externalId|deviceExternalId|f(?:name|size|ileHash|ilePath)|(?:source|destination)ServiceName|c[sn]\d(?:Label)?)$/;
  fc.assert(
    fc.property(anyBody, (body) => {
      const { fields } = readCef(toCef(record(body), NOTHING_KNOWN));
      expect([...fields.keys()].filter((it) => !known.test(it))).toEqual([]);
      expect(fields.get("externalId")).toBe(`${record(body).chain}/7`);
      expect(fields.get("cs5")).toBe(record(body).hash);
    }),
    { numRuns: 1_000 },
  );
});

test("a value is cut to the length that its field has, in whole characters", () => {
  const long = "\u{1f600}".repeat(5_000);
  const line = { ...event({ message: long }, "session-lost"), callId: "x".repeat(5_000) };
  const [cef] = told(line);
  expect(cef?.fields.get("cs1")).toBe(`${"x".repeat(MAX.cs1 - 1)}…`);
  expect(cef?.fields.get("msg")?.length).toBeLessThanOrEqual(MAX.msg);
  expect(cef?.fields.get("msg")?.isWellFormed()).toBe(true);
});

test("the reader refuses what is not in the format", () => {
  for (const line of [
    "CEF:1|a|b|c|d|e|1|",
    "CEF:0|a|b",
    "CEF:0|a|b|c|d|e|11|",
    "CEF:0|a|b|c|d|e|1|x",
    "CEF:0|a|b|c|d|e|1|k=a=b",
  ])
    expect(() => readCef(line)).toThrow(Error);
  expect(() => readCef("CEF:0|a|b|c|d|e|1|k=a\\x")).toThrow("escapes nothing");
});
