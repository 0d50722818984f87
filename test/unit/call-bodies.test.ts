import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import type { Bodies } from "../../src/audit/bodies/bodies.ts";
import { checkBodies } from "../../src/audit/bodies/check.ts";
import { bodiesOfCall, readBody } from "../../src/audit/bodies/read.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { IntentBody, OutcomeBody } from "../../src/audit/record.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { call } from "../../src/call/call.ts";
import type { CallPorts } from "../../src/call/ports.ts";
import { type Capability, capability } from "../../src/capability/capability.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import type { Decision } from "../../src/policy/decision.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";
import type { SessionTable } from "../../src/session/session.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { filesBelow, testBodies } from "../support/bodies.ts";
import { NOBODY } from "../support/policy.ts";

const PRINCIPAL = { id: "local:test", client: { name: "t", version: "1" }, transport: "stdio" as const };
const BUNDLE = { name: "test", version: "1.0.0", digest: "sha256:0" };
const CONTENT = "a line of the file\n".repeat(3_000);

interface Options {
  readonly bodies?: "off" | "encrypted";
  readonly outcome?: Decision["outcome"];
  readonly run?: Capability["run"];
  readonly store?: Bodies;
}

/** The spine over a real log and real bodies, with one tool. */
async function spine({ bodies = "encrypted", outcome = "permit", run, store }: Options = {}) {
  const data = scratch();
  const audit = join(data, "audit");
  const known = createKnownSecrets();
  const made = testBodies(data, { rulesOf: () => ({ hide: known.hide }) });
  const log = await openAuditLog({ directory: audit, gateway: "gw-test", hide: known.hide });
  const policyOf = (which: "off" | "encrypted") => ({
    ...{ identity: BUNDLE, layers: [], shadows: [], sets: { enforced: "" }, vocabulary: OWN_VOCABULARY },
    profile: profileSchema.parse({ audit: { bodies: which } }),
  });
  const policy = holdPolicy(policyOf(bodies));
  const runs: unknown[] = [];
  const write = capability({
    name: "write",
    description: "",
    annotations: { title: "", readOnly: false, destructive: true, idempotent: true, openWorld: false },
    input: z.strictObject({ path: z.string(), content: z.string(), sessionId: z.string().optional() }),
    output: z.strictObject({ bytes: z.number() }),
    describe: ({ path, content }) => ({
      resource: { type: "session", id: "ses-1" },
      context: {},
      audit: { path, bytes: content.length },
    }),
    run:
      (run as never) ??
      (async (args: { content: string }) => {
        runs.push(args);
        return { result: { bytes: args.content.length }, text: `wrote ${args.content.slice(0, 20)}`, facts: {} };
      }),
  });
  const ports: CallPorts = {
    find: () => write,
    accounts: {
      asked: (request) => request,
      reserve: (request) => ({ decision: { outcome, policies: [], problems: [], bundle: BUNDLE }, request }),
      relief: () => undefined,
      run: () => new DisposableStack(),
    },
    policy,
    approvals: NOBODY,
    audit: log,
    bodies: store ?? made.bodies,
    sessions: {
      idOf: (_: unknown, id: string | undefined) => id ?? "ses-default",
      list: () => [{ sessionId: "ses-open" }],
      lease: () => ({ machineId: undefined, [Symbol.asyncDispose]: async () => undefined }),
    } as unknown as SessionTable,
    mounts: createMounts([], []),
    log: createLog("silent"),
  };
  const { signal } = new AbortController();
  return {
    ...{ data, audit, known, runs, log, ports },
    places: made.places,
    become: (which: "off" | "encrypted") => policy.replace(policyOf(which)),
    ask: (args: unknown) =>
      call({ tool: "write", args, principal: PRINCIPAL, signal, progress: () => undefined }, ports),
    records: () => recordsOf(onlyChain(audit)).map((it) => it.body),
    contents: async (callId: string) => {
      const named = (await bodiesOfCall(audit, callId)) ?? [];
      return await Promise.all(named.map(async (it) => JSON.parse((await readBody(made.places, it)).toString())));
    },
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}

test("by default nothing is kept, and records say nothing of it", async () => {
  await using it = await spine({ bodies: "off" });
  await it.ask({ path: "a", content: CONTENT });
  expect(it.records().some((body) => "bodies" in body)).toBe(false);
  expect(filesBelow(it.data).some((name) => name.startsWith("bodies/") || name.startsWith("keys/"))).toBe(false);
  expect(JSON.stringify(it.records())).not.toContain("a line of the file");
});

test("arguments and result are kept whole, on disk before the records that name them", async () => {
  await using it = await spine();
  const { callId } = await it.ask({ path: "/workspace/a", content: CONTENT });
  expect(await it.contents(callId)).toEqual([
    { path: "/workspace/a", content: CONTENT },
    { text: "wrote a line of the file\na", structured: { bytes: CONTENT.length } },
  ]);
  expect(JSON.stringify(it.records())).not.toContain("a line of the file");
  expect((await verifyLog(it.audit)).problems).toEqual([]);
  expect(await checkBodies(it.audit, it.places)).toMatchObject({ kept: 2, problemCount: 0 });
});

test("what was tried and denied is kept, and what failed", async () => {
  {
    await using it = await spine({ outcome: "deny" });
    const { callId } = await it.ask({ path: "/etc/passwd", content: CONTENT });
    expect(await it.contents(callId)).toEqual([{ path: "/etc/passwd", content: CONTENT }]);
  }
  const run = async () => {
    throw new GatewayError("NOT_A_FILE", "`a` is a pipe");
  };
  await using it = await spine({ run });
  const { callId } = await it.ask({ path: "a", content: "x" });
  expect((await it.contents(callId))[1]).toEqual({ error: { code: "NOT_A_FILE", message: "`a` is a pipe" } });
});

test("secrets are redacted before anything is encrypted: values of bound ones, too", async () => {
  await using it = await spine();
  it.known.add("DB", "correct horse battery staple");
  const content = `${CONTENT}password=hunter2\ncorrect horse battery staple\n`;
  const { callId } = await it.ask({ path: "a", content });
  const [args] = await it.contents(callId);
  expect(args.content).toBe(`${CONTENT}password=[redacted:name]\n[redacted:DB]\n`);
});

test("keys are made for sessions that there are: an agent can't make them by making up names", async () => {
  await using it = await spine();
  for (let at = 0; at < 5; at++) await it.ask({ path: "a", content: "x", sessionId: `ses-madeup${at}` });
  await it.ask({ path: "a", content: "x", sessionId: "ses-open" });
  expect(readdirSync(it.places.keysDirectory).sort()).toEqual(["ses-default", "ses-open"]);
});

test("the policy in force when a call is decided says whether its result is kept", async () => {
  const gate = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const run = async () => {
    started.resolve();
    await gate.promise;
    return { result: { bytes: 1 }, text: "x", facts: {} };
  };
  await using it = await spine({ run });
  const first = it.ask({ path: "a", content: "x" });
  await started.promise;
  it.become("off");
  const second = it.ask({ path: "b", content: "x" });
  gate.resolve();
  expect(await it.contents((await first).callId)).toHaveLength(2);
  expect(await it.contents((await second).callId)).toHaveLength(0);
});

test("[G5] a call whose arguments can't be kept is refused before anything runs, which is on record", async () => {
  await using it = await spine();
  writeFileSync(it.places.keysDirectory.replace(/\/bodies$/, ""), "no directory");
  const refused = await it.ask({ path: "a", content: "x" });
  expect(refused).toMatchObject({ kind: "failed", error: { code: "AUDIT_UNWRITABLE" } });
  expect(it.runs).toEqual([]);
  const problem = expect.stringContaining("the bodies of calls cannot be kept");
  const denied = { kind: "intent", decision: "deny", problems: [problem], bodies: { arguments: { lost: problem } } };
  expect(it.records()).toMatchObject([denied]);
  rmSync(it.places.keysDirectory.replace(/\/bodies$/, ""));
  expect(await it.ask({ path: "a", content: "x" })).toMatchObject({ kind: "done" });
  // A key that others may read is none.
  const session = join(it.places.keysDirectory, "ses-default");
  for (const name of readdirSync(session)) chmodSync(join(session, name), 0o644);
  const open = await it.ask({ path: "a", content: "x" });
  expect(open).toMatchObject({ error: { code: "AUDIT_UNWRITABLE", message: expect.stringContaining("chmod 600") } });
  expect(it.runs).toHaveLength(1);
});

test("[G5] a result that can't be kept is an outcome that says so, and a call that failed", async () => {
  const lost = new GatewayError("AUDIT_UNWRITABLE", "the bodies of calls cannot be kept (ENOSPC)");
  const { bodies } = testBodies(scratch());
  const store: Bodies = {
    keep: async (of, content) => {
      if (of.name === "result") throw lost;
      return await bodies.keep(of, content);
    },
  };
  await using it = await spine({ store });
  const result = await it.ask({ path: "a", content: CONTENT });
  expect(result).toMatchObject({ kind: "failed", error: { code: "AUDIT_UNWRITABLE", message: lost.message } });
  expect(JSON.stringify(result)).not.toContain("a line of the file");
  const outcomes = it.records().filter((body): body is OutcomeBody => body.kind === "outcome");
  expect(outcomes).toMatchObject([{ status: "ok", bodies: { result: { lost: lost.message } } }]);
  expect((await verifyLog(it.audit)).problems).toEqual([]);
});

test("the digest on record is that of the file, from which nothing can be told of the content", async () => {
  await using it = await spine();
  const [one, two] = [await it.ask({ path: "a", content: "yes" }), await it.ask({ path: "a", content: "yes" })];
  const intents = it.records().filter((body): body is IntentBody => body.kind === "intent");
  const digests = intents.map(({ bodies }) => bodies && "sha256" in bodies.arguments && bodies.arguments.sha256);
  expect(new Set(digests).size).toBe(2);
  expect([intents[0]?.callId, intents[1]?.callId]).toEqual([one.callId, two.callId]);
  const lines = readFileSync(join(onlyChain(it.audit), "000001.jsonl"), "utf8");
  expect(lines).toContain('"keyId":"ses-default/');
});
