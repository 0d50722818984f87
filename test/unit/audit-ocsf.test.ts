import { hash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toOcsf } from "../../src/audit/export/ocsf.ts";
import { OCSF_VERSION } from "../../src/audit/export/ocsf-event.ts";
import { createRecollection, NOTHING_KNOWN } from "../../src/audit/export/recollection.ts";
import { toolOf } from "../../src/audit/export/tools.ts";
import type { AuditRecord, IntentBody, Json, RecordBody } from "../../src/audit/record.ts";
import { wantsAttention } from "../../src/audit/sinks/attention.ts";
import { CAPABILITIES } from "../../src/capability/registry.ts";
import { SKILL_TOOLS } from "../../src/skill/tools.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { anyBody, argumentsOf, everyEvent, record } from "../support/audit-records.ts";
import { OCSF, ocsfProblems } from "../support/ocsf/validate.ts";

const alone = { ...NOTHING_KNOWN, withRaw: false };

/** The events of a chain's records, each seen with those before. */
function told(bodies: readonly RecordBody[], withRaw = false) {
  const known = createRecollection();
  return bodies.map((body, seq) => {
    const it = record(body, seq);
    known.note(it);
    return toOcsf(it, { ...known, withRaw });
  });
}

function problems(it: AuditRecord, context: Parameters<typeof toOcsf>[1] = alone): string[] {
  return toOcsf(it, context).flatMap((one) => ocsfProblems(JSON.parse(JSON.stringify(one))));
}

test("events are those of the version that the tables are of", () => {
  expect(OCSF.version).toBe(OCSF_VERSION);
});

test.each(everyEvent())("$event validates, alone and after the records before it", (body) => {
  expect(problems(record(body))).toEqual([]);
  const all = told([{ ...intent("call-1"), decision: "ask" }, ...everyEvent(), body], true);
  expect(all.flat().flatMap(ocsfProblems)).toEqual([]);
});

describe("calls", () => {
  const tools = [...CAPABILITIES.map((it) => it.name), ...SKILL_TOOLS, "convertDocument", ""];
  const decisions: IntentBody["decision"][] = ["permit", "deny", "ask", "invalid"];

  test.each(tools)("of `%s` validate, whatever is decided and however they end", (tool) => {
    for (const decision of decisions) {
      const asked = { ...intent("call-1", argumentsOf(tool)), tool, decision };
      const ends = (["ok", "error", "interrupted"] as const).map((status) => ({ ...outcome("call-1"), status }));
      const answers = everyEvent().filter((it) => it.event.startsWith("approval-"));
      for (const end of [...ends, ...answers]) expect(told([asked, end]).flat().flatMap(ocsfProblems)).toEqual([]);
    }
  });

  test("every tool of Glovebox is one that is known", () => {
    const unknown = CAPABILITIES.map((it) => it.name).filter((it) => toolOf(it) === undefined);
    expect(unknown).toEqual([]);
  });
});

test("any record that the log takes validates, and each of its events has an id of its own", () => {
  fc.assert(
    fc.property(fc.array(anyBody, { minLength: 1, maxLength: 6 }), fc.boolean(), (bodies, withRaw) => {
      const all = told(bodies, withRaw).flat();
      expect(all.flatMap((it) => ocsfProblems(JSON.parse(JSON.stringify(it))))).toEqual([]);
      const ids = all.map((it) => it.metadata["uid"]);
      expect(new Set(ids).size).toBe(ids.length);
    }),
    { numRuns: 300 },
  );
});

test("a validator that finds nothing wrong finds what is wrong", () => {
  const [sound] = toOcsf(record(intent("call-1")), alone);
  expect(ocsfProblems(sound)).toEqual([]);
  const { actor: _, ...anonymous } = sound;
  expect(ocsfProblems(anonymous)).toEqual(["actor: is required"]);
  expect(ocsfProblems({ ...sound, extra: 1 })).toEqual(["extra: there is no such attribute"]);
  expect(ocsfProblems({ ...sound, time: "now" })).toEqual(["time: is no integer"]);
  expect(ocsfProblems({ ...sound, severity_id: 7 })).toEqual(["severity_id: 7 is none of its values"]);
  expect(ocsfProblems({ ...sound, type_uid: 1 })).toContain("type_uid: not class_uid * 100 + activity_id");
  expect(ocsfProblems({ ...sound, category_uid: 1 })).toContain("category_uid: not the class's");
  expect(ocsfProblems({ ...sound, severity: "High" })).toEqual(["severity: High is not Informational"]);
  expect(ocsfProblems({ ...sound, actor: {} })[0]).toContain("actor.: needs one of");
  expect(ocsfProblems({ ...sound, metadata: { ...sound.metadata, profiles: [] } }).length).toBeGreaterThan(3);
});

test("a decision is an action of the security control, with its policies", () => {
  const shadow = [{ would: "deny" as const, policies: [{ id: "s.cedar#x", effect: "forbid" as const }], problems: [] }];
  const [permitted, denied, asked, invalid] = told([
    { ...intent("call-1"), shadow },
    { ...intent("call-2"), decision: "deny" },
    { ...intent("call-3"), decision: "ask" },
    { ...intent("call-4"), decision: "invalid", problems: ["argv: is missing"] },
  ]).map(([main]) => main);
  expect([permitted, denied, asked, invalid].map((it) => [it?.["action_id"], it?.["disposition_id"]])).toEqual([
    [1, 1],
    [2, 26],
    [3, 17],
    [2, 25],
  ]);
  expect(permitted?.["authorizations"]).toMatchObject([
    { decision: "permit", policy: { uid: "main.cedar#exec", is_applied: true } },
    { decision: "would deny", policy: { uid: "s.cedar#x", is_applied: false } },
  ]);
  expect(permitted?.["actor"]).toMatchObject({ user: { uid: "local:ada" }, app_name: "test" });
  expect(permitted).toMatchObject({ class_uid: 6003, time: 1_795_253_400_123, api: { operation: "exec" } });
  expect(invalid?.["status_detail"]).toBe("argv: is missing");
  expect(denied?.["status_detail"]).toBe("programs may run");
});

test("an outcome is told with what its intent said, under the same correlation", () => {
  const failed = { ...outcome("call-1"), status: "error" as const, code: "TIMEOUT" };
  const [asked, ended] = told([intent("call-1"), failed]).map(([main]) => main);
  expect(ended).toMatchObject({ class_uid: 6003, status_id: 2, status_code: "TIMEOUT", duration: 5 });
  expect(ended).toMatchObject({ api: { operation: "exec", request: { uid: "call-1" } } });
  expect(ended?.metadata["correlation_uid"]).toBe("call-1");
  expect(asked?.metadata["correlation_uid"]).toBe("call-1");
  expect(ended?.["actor"]).toEqual(asked?.["actor"]);
});

test("a call is remembered until it ends, however many are denied meanwhile", () => {
  const known = createRecollection();
  const denied = (n: number) => ({ ...intent(`call-${n}`), decision: "deny" as const });
  known.note(record(intent("call-0")));
  for (let n = 1; n < 10_000; n++) known.note({ ...record(denied(1)), body: denied(n) });
  const [ended] = toOcsf(record(outcome("call-0")), { ...known, withRaw: false });
  expect(ended).toMatchObject({ api: { operation: "exec" }, actor: { user: { uid: "local:ada" } } });
  expect(known.call("call-1")).toBeUndefined();
});

test("a program is launched by its permission and terminated by its end, with one process id", () => {
  const asked = intent("call-1", argumentsOf("exec"));
  const all = told([asked, ...everyEvent().filter((it) => it.event === "process-ended"), outcome("call-1")]);
  const processes = all.flat().filter((it) => it.class_uid === 1007);
  expect(processes.map((it) => [it.activity_id, it["process"]])).toEqual([
    [1, expect.objectContaining({ uid: "call-1", name: "git", cmd_line: "/usr/bin/git log '--format=%H it'\\''s'" })],
    [2, expect.objectContaining({ uid: "call-1", name: "git" })],
  ]);
  expect(processes[1]?.["exit_code"]).toBe(0);
});

test("a program that a person is asked about is launched, or not, by the answer", () => {
  const asked = { ...intent("call-1", argumentsOf("exec")), decision: "ask" as const };
  const answer = (name: "approval-given" | "approval-refused", why: string) =>
    told([asked, { ...event({ action: "exec", approver: "local:eve", why }, name), callId: "call-1" }]).flat();
  const launches = (all: ReturnType<typeof answer>) =>
    all.filter((it) => it.class_uid === 1007).map((it) => [it.type_uid, it["action_id"], it["disposition_id"]]);
  expect(launches(answer("approval-given", ""))).toEqual([[100_701, 1, 8]]);
  expect(launches(answer("approval-refused", "denied"))).toEqual([[100_701, 2, 25]]);
  // It did not count: the question stays open.
  expect(launches(answer("approval-refused", "invalid"))).toEqual([]);
  const [, access] = answer("approval-given", "");
  expect(access).toMatchObject({ class_uid: 3005, user: { uid: "local:ada" }, actor: { user: { uid: "local:eve" } } });
});

test("an answer that does not count is observed, and denies nothing", () => {
  const answer = { ...event({ why: "invalid", approver: "local:eve" }, "approval-refused"), callId: "call-1" };
  const given = { ...event({ approver: "local:grace" }, "approval-given"), callId: "call-1" };
  const asked = { ...intent("call-1", argumentsOf("exec")), decision: "ask" as const };
  const [, ignored, approved] = told([asked, answer, given]);
  expect(ignored?.flatMap(ocsfProblems)).toEqual([]);
  expect(ignored).toMatchObject([
    {
      ...{ class_uid: 3005, activity_name: "Answer", action_id: 3, disposition_id: 17, severity: "Medium" },
      ...{ message: "an answer did not count: exec", status_detail: "invalid", actor: { user: { uid: "local:eve" } } },
    },
  ]);
  expect(approved?.map((it) => it["action_id"])).toEqual([1, 1]);
});

test("a file tool is a file's activity, by its denial or by its outcome", () => {
  const write = { ...intent("call-1", { path: "/workspace/a.txt" }), tool: "writeFile" };
  const facts = { path: "/workspace/a.txt", bytes: 3, sha256: "c".repeat(64), created: true };
  const files = (bodies: RecordBody[]) =>
    told(bodies)
      .flat()
      .filter((it) => it.class_uid === 1001);
  expect(files([write])).toEqual([]);
  expect(files([write, outcome("call-1", facts)])).toMatchObject([
    { activity_id: 1, action_id: 1, file: { name: "a.txt", size: 3, hashes: [{ value: "c".repeat(64) }] } },
  ]);
  expect(files([{ ...write, decision: "deny" }])).toMatchObject([{ activity_id: 3, action_id: 2, status_id: 2 }]);
});

test("a secret on its way out is a finding and a refused connection", () => {
  const [events] = told(everyEvent().filter((it) => it.event === "placeholder-refused"));
  expect(events?.map((it) => [it.type_uid, it.severity_id])).toEqual([
    [200_401, 4],
    [400_105, 2],
  ]);
  expect(events?.[0]).toMatchObject({ is_alert: true });
  expect(events?.[1]?.["firewall_rule"]).toMatchObject({ uid: "net.cedar#docs" });
});

test("what happens in a session is told of its machine and of whoever called in it first", () => {
  const [opened] = everyEvent().filter((it) => it.event === "session-opened");
  const [refused] = everyEvent().filter((it) => it.event === "connection-refused");
  if (!opened || !refused) throw new Error("no such event");
  const stranger = { ...intent("call-2"), principal: { ...intent("call-2").principal, id: "local:eve" } };
  const last = told([opened, intent("call-1"), stranger, refused]).at(-1)?.[0];
  expect(last?.["device"]).toMatchObject({ uid: "ses-1", instance_uid: "mach-1", hypervisor: "qemu 9.2.0" });
  expect(last?.["actor"]).toMatchObject({ user: { uid: "local:ada" } });
  expect(last?.metadata["correlation_uid"]).toBe("call-1");
});

test("calls that name sessions which were never opened make nobody forget whose a session is", () => {
  const [started] = everyEvent().filter((it) => it.event === "session-opened");
  const [connection] = everyEvent().filter((it) => it.event === "connection-opened");
  if (!started || !connection) throw new Error("no such event");
  const { principal } = intent("call-0");
  const flood = Array.from({ length: 5_000 }, (_, n) => ({ ...intent(`call-f${n}`), sessionId: `ses-f${n}` }));
  const named = { ...started, facts: { ...(started.facts as object), principal } as unknown as Json };
  const stories: RecordBody[][] = [
    [intent("call-0"), started, ...flood],
    [started, intent("call-0"), ...flood],
    [intent("call-0"), ...flood, named],
  ];
  for (const bodies of stories) {
    const known = createRecollection();
    // What a record is made of beside its body, its hash above all, is not looked at, and takes long.
    const { body: _, ...rest } = record(intent("call-0"));
    for (const body of bodies) known.note({ ...rest, body });
    expect(known.session("ses-1")).toMatchObject({ owner: principal, machineId: "mach-1" });
    const [told] = toOcsf(record({ ...connection, sessionId: "ses-1" }), { ...known, withRaw: false });
    expect(told["actor"]).toMatchObject({ user: { uid: "local:ada" } });
  }
});

test("with its raw data an event proves that it is in the log", () => {
  const [[plain], [raw]] = [told([intent("call-1")])[0] ?? [], told([intent("call-1")], true)[0] ?? []];
  const value = record(intent("call-1"), 0).hash;
  expect(plain?.["raw_data"]).toBeUndefined();
  expect(plain?.["raw_data_hash"]).toMatchObject({ value });
  expect(hash("sha256", String(raw?.["raw_data"]))).toBe(value);
});

test("an inspection that saw less than was made, or could not see, is no success", () => {
  const told = (facts: Json) => toOcsf(record(event(facts, "session-inspected")), alone)[0];
  expect(told({ state: "inspected", weaker: [] })).toMatchObject({ severity: "Informational", status: "Success" });
  const weaker = told({ state: "inspected", weaker: ["it is privileged", "it has devices"] });
  expect(weaker).toMatchObject({
    severity: "High",
    status: "Failure",
    status_detail: "it is privileged; it has devices",
  });
  expect(told({ state: "unseen", problem: "it took too long" })).toMatchObject({
    ...{ severity: "Medium", status: "Failure", status_detail: "it took too long" },
  });
  expect(ocsfProblems(weaker)).toEqual([]);
});

test("what receivers are warned of is more than informational, and nothing else is", () => {
  const found = told(everyEvent()).map(([main]) => [main.metadata["event_code"], main.severity_id > 1]);
  expect(found).toEqual(everyEvent().map((body) => [body.event, wantsAttention(body)]));
});

test("that a receiver gets nothing of the log is a failed export of it, until it succeeds again", () => {
  const bodies = everyEvent().filter((it) => it.event.startsWith("logging-"));
  const [failed, recovered] = told(bodies).map(([main]) => main);
  expect(failed).toMatchObject({
    ...{ class_uid: 1008, type_uid: 100_803, severity: "Medium", status: "Failure" },
    ...{ status_detail: "`logs.example` did not answer", unmapped: { sink: "central" } },
  });
  expect(recovered).toMatchObject({
    ...{ class_uid: 1008, type_uid: 100_803, severity: "Informational", status: "Success" },
  });
});

test("events of hashes and signatures alone are Base Events", () => {
  const base = told(everyEvent()).filter(([main]) => main.class_uid === 0);
  expect(base.map(([main]) => main.metadata["event_code"]).toSorted()).toEqual([
    ...["audit-key", "audit-key-rotated", "checkpoint"],
  ]);
});

test("an event of a kind that has no class is a Base Event", () => {
  const later = { ...event({ x: 1 }), event: "invented-later" } as unknown as RecordBody;
  const [only] = toOcsf(record(later), alone);
  expect(only).toMatchObject({ class_uid: 0, type_uid: 99, activity_name: "invented-later", unmapped: { x: 1 } });
  expect(ocsfProblems(only)).toEqual([]);
});
