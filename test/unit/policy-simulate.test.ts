import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { historyOf } from "../../src/audit/history.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { addChange, type ChangeGroups } from "../../src/policy/change-groups.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import type { Decision } from "../../src/policy/decision.ts";
import type { PolicyLayer } from "../../src/policy/layer.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { readRecorded, recordedRequest } from "../../src/policy/replay.ts";
import { type Change, emptyTally, simulate } from "../../src/policy/simulate.ts";
import { NO_USAGE } from "../../src/policy/usage.ts";
import { onlyChain, scratch, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { layerOf } from "../support/bundle.ts";
import { ADA, intentOf, requestOf, writeLog } from "../support/past.ts";

const policyOfLayers = (...layers: readonly PolicyLayer[]) => policyOf(layers, profileSchema.parse({}));
const POLICY = policyOfLayers(
  layerOf("user", [
    `permit (principal, action in [Glovebox::Action::"exec", Glovebox::Action::"readFile"], resource);`,
    `@id("no-npm") @reason("no npm") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "npm" };`,
    `@id("ask-rm") @reason("a person decides") @outcome("ask") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "rm" };`,
    `@id("hosts") permit (principal, action == Glovebox::Action::"connect", resource == Glovebox::Host::"example.org");`,
  ]),
);

async function simulated(path: string, policy = POLICY, filter = {}) {
  const history = historyOf(path, filter);
  const tally = emptyTally();
  const changes: Change[] = [];
  for await (const it of simulate(policy, history.decisions, tally)) changes.push(it);
  return { changes, tally, reading: history.reading };
}

/** By argv: evaluation takes longer than the rest. */
const outcomes = new Map<string, Decision["outcome"]>();

/** A call, and what the policy would say of it, or something else. */
function call(index: number, planted: boolean) {
  const argv =
    [
      ["ls", `${index % 40}`],
      ["npm", "install", `p${index % 7}`],
      ["rm", "-r", "x"],
      ["git", "push"],
    ][index % 4] ?? [];
  const args = { argv };
  const key = JSON.stringify(argv);
  const outcome = outcomes.get(key) ?? decide(POLICY, requestOf("exec", args)).outcome;
  outcomes.set(key, outcome);
  const others = (["permit", "deny", "ask"] as const).filter((it) => it !== outcome);
  const decided = planted ? (others[index % 2] ?? "deny") : outcome;
  return intentOf("exec", args, { callId: `call-${index}`, decided });
}

test("of ten thousand calls, those are found that were decided otherwise, and no others", async () => {
  const directory = scratch();
  const total = 10_000;
  const planted = new Set(fc.sample(fc.integer({ min: 0, max: total - 1 }), 37));
  await writeLog(
    directory,
    Array.from({ length: total }, (_, index) => call(index, planted.has(index))),
  );
  const { changes, tally, reading } = await simulated(directory);
  expect(new Set(changes.map((it) => it.past.callId))).toEqual(new Set([...planted].map((it) => `call-${it}`)));
  expect(tally).toMatchObject({ decided: total, changed: planted.size, withoutUsage: 0 });
  expect(reading).toMatchObject({ decisions: total, damaged: 0, passedOver: new Map() });
});

test("whichever are planted, and in whichever policy they differ", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 0, max: 59 })), async (planted) => {
      const directory = scratch();
      await writeLog(
        directory,
        Array.from({ length: 60 }, (_, index) => call(index, planted.includes(index))),
      );
      const { changes } = await simulated(directory);
      expect(changes.map((it) => it.past.callId).toSorted()).toEqual(planted.map((it) => `call-${it}`).toSorted());
    }),
    { numRuns: 15 },
  );
});

test("connections and packages are decided again, as whose session it was", async () => {
  const directory = scratch();
  const opened = (host: string): RecordBody =>
    event(
      { connectionId: "conn-1", host, port: 443, scheme: "https", policies: ["x"], calls: [] },
      "connection-opened",
    );
  const refused = (host: string, reason: string, policies: string[] = []): RecordBody =>
    event({ host, port: 443, reason, policies, calls: [] }, "connection-refused");
  await writeLog(directory, [
    { ...opened("early.example.org"), sessionId: "ses-unknown" } as RecordBody,
    intentOf("exec", { argv: ["ls"] }),
    opened("example.org"),
    opened("other.example.org"),
    refused("example.org", "no policy grants it (GET /)"),
    refused("third.example.org", "no policy grants it"),
    refused("10.0.0.1", "is in a private network"),
    event({ unrecordedBefore: 12 }, "connection-refused"),
    event({ ecosystem: "npm", name: "x", reason: "too young", policies: [] }, "package-refused"),
    intentOf("exec", { argv: ["ls"] }, { decided: "invalid" }),
  ]);
  const { changes, tally, reading } = await simulated(directory);
  const hosts = changes.map(({ past, now }) => [past.request.resource, past.decided, now.outcome]);
  expect(hosts).toEqual([
    [{ type: "host", host: "other.example.org" }, "permit", "deny"],
    [{ type: "host", host: "example.org" }, "deny", "permit"],
  ]);
  expect(changes.every((it) => it.past.request.principal.id === ADA.id)).toBe(true);
  expect(tally).toMatchObject({ decided: 5, changed: 2, assumed: new Map([["scheme", 2]]) });
  expect(Object.fromEntries(reading.passedOver)).toEqual({
    "no-principal": 1,
    "not-policy": 1,
    unrecorded: 12,
    "package-refused": 1,
    "not-asked": 1,
  });
  const reads = `permit (principal, action == Glovebox::Action::"connect", resource in Glovebox::Host::"example.org") when { context has method && context.method == "GET" };`;
  const asked = await simulated(directory, policyOfLayers(layerOf("user", reads)));
  expect(asked.tally).toMatchObject({ withoutRequest: 4 });
});

test("a package that entered is decided again by what the log has of it", async () => {
  const directory = scratch();
  const admitted = (name: string, ageHours: number): RecordBody =>
    event(
      {
        purl: `pkg:npm/${name}@1.0.0`,
        ecosystem: "npm",
        name,
        version: "1.0.0",
        file: `${name}-1.0.0.tgz`,
        registry: "packages.example.org:443",
        sha256: "0".repeat(64),
        bytes: 1,
        licenses: ["MIT"],
        ageHours,
        requested: true,
        cached: false,
        policies: [],
        calls: [],
      },
      "package-admitted",
    );
  await writeLog(directory, [intentOf("exec", { argv: ["ls"] }), admitted("old", 900), admitted("young", 10)]);
  const policy = policyOfLayers(
    layerOf("user", [
      `@id("age") @reason("too young") forbid (principal, action == Glovebox::Action::"installPackage", resource is Glovebox::Package) when { !(resource has ageHours && resource.ageHours >= 72) };`,
      `permit (principal, action == Glovebox::Action::"installPackage", resource is Glovebox::Package);`,
    ]),
  );
  const { changes, tally } = await simulated(directory, policy, { session: "ses-1" });
  expect(changes.filter((it) => it.past.request.resource.type === "package")).toMatchObject([
    { past: { request: { resource: { facts: { name: "young" } } } }, now: { policies: [{ id: "t.cedar#age" }] } },
  ]);
  expect(tally.assumed).toEqual(new Map([["package", 2]]));
});

test("what can't be decided again is counted by its reason, and damage too", async () => {
  const directory = scratch();
  const { request: _none, ...old } = intentOf("exec", { argv: ["ls"] });
  const usageOf = { ...requestOf("exec", { argv: ["ls"] }), usage: { ...NO_USAGE, openSessions: 3 } };
  await writeLog(directory, [
    old,
    { ...intentOf("exec", { argv: ["ls"] }), request: { bytes: 300_000, sha256: "0".repeat(64) } },
    { ...intentOf("exec", { argv: ["ls"] }), request: { action: "exec", later: true } },
    intentOf("exec", { argv: ["x".repeat(20_000)] }),
    { ...intentOf("exec", { argv: ["ls"] }), request: recordedRequest(usageOf, { usage: true }) },
    intentOf("exec", { argv: ["curl", "--password", "hunter2"] }),
    { ...intentOf("exec", { argv: ["ls"] }), request: { envNames: Array.from({ length: 30_000 }, () => "VARIABLE") } },
  ]);
  const [name = ""] = segments(onlyChain(directory));
  const file = join(onlyChain(directory), name);
  appendFileSync(file, "{}\nnot json\nhalf a li");
  const busy = `@id("busy") @reason("busy") forbid (principal, action == Glovebox::Action::"exec", resource) when { principal.openSessions > 2 };`;
  const policy = policyOfLayers(layerOf("user", ["permit (principal, action, resource is Glovebox::Session);", busy]));
  const { changes, tally, reading } = await simulated(file, policy);
  expect(Object.fromEntries(reading.passedOver)).toEqual({ "no-request": 1, "too-large": 3, malformed: 1 });
  expect(reading.damaged).toBe(2);
  expect(tally).toMatchObject({ decided: 2, withoutUsage: 1, assumed: new Map([["redacted", 1]]) });
  expect(changes).toMatchObject([{ now: { policies: [{ id: "t.cedar#busy" }] } }]);

  // A record that somebody changed is no record.
  const other = join(scratch(), "copy.jsonl");
  writeFileSync(other, readFileSync(file, "utf8").replaceAll('"decision":"permit"', '"decision":"deny"'));
  expect((await simulated(other)).reading).toMatchObject({ decisions: 0, damaged: 9 });
});

test("a time is a limit, and a session is one", async () => {
  const directory = scratch();
  await writeLog(directory, [
    intentOf("exec", { argv: ["npm"] }),
    intentOf("exec", { argv: ["npm"] }, { sessionId: "ses-2", callId: "call-2" }),
  ]);
  expect((await simulated(directory, POLICY, { session: "ses-2" })).changes).toMatchObject([
    { past: { callId: "call-2" } },
  ]);
  expect((await simulated(directory, POLICY, { sinceMs: Date.now() + 60_000 })).tally.decided).toBe(0);
  expect((await simulated(directory, POLICY, { untilMs: Date.now() - 60_000 })).tally.decided).toBe(0);
  expect((await simulated(directory, POLICY, { sinceMs: 0, untilMs: Date.now() + 60_000 })).tally.decided).toBe(2);
});

test("a session is its first caller's: who else names it neither owns its connections nor speaks for it", async () => {
  const directory = scratch();
  const eve = { ...ADA, id: "local:eve" };
  const target = { host: "other.example.org", port: 443, scheme: "https" };
  await writeLog(directory, [
    intentOf("exec", { argv: ["npm"] }),
    { ...intentOf("exec", { argv: ["npm"] }, { callId: "call-eve" }), principal: eve },
    event({ connectionId: "conn-1", ...target, policies: [], calls: [] }, "connection-opened"),
  ]);
  const { changes, reading } = await simulated(directory, POLICY, { session: "ses-1" });
  expect(changes.map((it) => it.past.request.principal.id)).toEqual([ADA.id, ADA.id]);
  expect(reading.passedOver).toEqual(new Map([["not-owner", 1]]));
  expect((await simulated(directory)).tally.decided).toBe(3);
});

test("a connection that a person let through was asked about", async () => {
  const directory = scratch();
  const target = { host: "asked.example.org", port: 443, scheme: "https" };
  await writeLog(directory, [
    intentOf("exec", { argv: ["npm"] }),
    event({ connectionId: "conn-1", ...target, policies: [], calls: [], approvalId: "apr_1" }, "connection-opened"),
  ]);
  const { changes } = await simulated(directory, POLICY, { session: "ses-1" });
  expect(changes.find((it) => it.past.request.action === "connect")?.past.decided).toBe("ask");
});

test("changes of one kind are one group", async () => {
  const directory = scratch();
  const installs = Array.from({ length: 20 }, (_, it) => intentOf("exec", { argv: ["npm", "install", `p${it}`] }));
  await writeLog(directory, [...installs, intentOf("exec", { argv: ["npm", "run", "x\n\u001b[31m"] })]);
  const all: ChangeGroups = { groups: new Map(), others: 0 };
  for (const it of (await simulated(directory)).changes) addChange(all, it);
  const groups = [...all.groups.values()].map(({ kind, count, examples }) => ({
    kind,
    count,
    words: examples[0]?.words,
  }));
  expect(groups).toEqual([
    { kind: "exec npm install", count: 20, words: "exec npm install p0" },
    { kind: "exec npm run", count: 1, words: 'exec npm run "x\\n\ufffd[31m"' },
  ]);
});

test("nothing that the log says of a request is trusted", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (recorded) => {
      expect(readRecorded(ADA, recorded)).toHaveProperty("problem");
    }),
  );
  const forged = {
    action: "exec",
    resource: { type: "session", id: "x" },
    context: { argv0: "ls", argvPrefixes: ["ls"] },
  };
  expect(readRecorded(ADA, forged)).toEqual({ problem: "malformed" });
});
