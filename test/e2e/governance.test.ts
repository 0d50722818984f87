import { appendFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ElicitResult } from "@modelcontextprotocol/sdk/types.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditRecord, EventBody, IntentBody } from "../../src/audit/record.ts";
import { userName } from "../../src/lib/user.ts";
import {
  auditRecords,
  connect,
  ENTRY,
  shippedPolicy,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";
import { atTerminal, hasPty } from "../support/pty.ts";

/** The whole way of what policy leaves to a person, and of a policy that changes while sessions are open. */
const ASK = `
@id("ask-touch")
@outcome("ask")
@reason("somebody looks at it first")
forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "touch" };

@id("ask-terminal")
@outcome("ask")
@channels("terminal")
@reason("only at the terminal")
forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "mkdir" };

@id("maybe-later")
@mode("shadow")
@reason("date may go away")
forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "date" };
`;

let data: TestData;
let policy: string;
let client: TestClient;
let answers: ElicitResult[] = [];
const forms: string[] = [];

beforeAll(async () => {
  data = testData();
  policy = bundle("asking", ASK);
  client = await connect(data, ["--policy", policy, "--spares", "0"], [], {
    elicit: async ({ message }) => {
      forms.push(message);
      return answers.shift() ?? { action: "cancel" };
    },
  });
  await client.call("exec", { argv: ["true"] }, { timeoutMs: 170_000 });
});
afterAll(async () => {
  await client?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

function bundle(name: string, cedar: string, profile = ""): string {
  const directory = join(data.directory, name);
  cpSync(shippedPolicy("default"), directory, { recursive: true });
  appendFileSync(join(directory, "sandbox.cedar"), cedar);
  appendFileSync(join(directory, "profile.yaml"), profile);
  return directory;
}

function story(callId: string): string[] {
  return auditRecords(data).flatMap(({ body }) => {
    if (body.callId !== callId) return [];
    if (body.kind === "intent") return [body.decision];
    return [body.kind === "event" ? body.event : `${body.kind} ${body.status}`];
  });
}

const callIdOf = (answer: Awaited<ReturnType<TestClient["call"]>>): string =>
  (answer.raw._meta as { "glovebox/call": { callId: string } })["glovebox/call"].callId;
const events = (name: EventBody["event"]) =>
  auditRecords(data).flatMap(({ body }) => (body.kind === "event" && body.event === name ? [body.facts] : []));
const accept = (decision: string): ElicitResult => ({ action: "accept", content: { decision } });

describe("in the client", () => {
  test("a call waits for the person, runs once, and is asked about again [G29]", async () => {
    answers = [accept("allow once"), accept("deny")];
    const allowed = await client.call("exec", { argv: ["touch", "/workspace/a"] });
    expect(allowed.result).toMatchObject({ exitCode: 0 });
    expect(forms.at(-1)).toContain("touch /workspace/a");
    expect(forms.at(-1)).toContain("somebody looks at it first");
    expect(story(callIdOf(allowed))).toEqual(["ask", "approval-requested", "approval-given", "outcome ok"]);
    const denied = await client.call("exec", { argv: ["touch", "/workspace/b"] });
    expect(denied).toMatchObject({ isError: true });
    expect(denied.text).toContain("NOT APPROVED");
    expect(story(callIdOf(denied))).toEqual(["ask", "approval-requested", "approval-refused"]);
    expect((await client.call("readFile", { path: "/workspace/b" })).text).toContain("FILE_NOT_FOUND");
  });

  test("a pattern is allowed for the session, shown in sessionStatus, and nothing beside it", async () => {
    answers = [accept("allow this pattern for the session"), accept("deny")];
    const asked = forms.length;
    expect((await client.call("exec", { argv: ["touch", "/workspace/c"] })).result).toMatchObject({ exitCode: 0 });
    expect((await client.call("exec", { argv: ["touch", "/workspace/c"] })).result).toMatchObject({ exitCode: 0 });
    expect(forms).toHaveLength(asked + 1);
    const { result } = await client.call("sessionStatus");
    expect(result.approved).toEqual([
      {
        pattern: expect.stringContaining("touch"),
        approver: `client:local:${userName()}`,
        expiresAt: expect.any(String),
      },
    ]);
    expect((await client.call("exec", { argv: ["touch", "/workspace/d"] })).isError).toBe(true);
    expect(forms).toHaveLength(asked + 2);
  });

  test("nothing that is plainly permitted asks; what a shadow policy would forbid runs, and is on record", async () => {
    const asked = forms.length;
    const answer = await client.call("exec", { argv: ["date"] });
    expect(answer.result).toMatchObject({ exitCode: 0 });
    expect(forms).toHaveLength(asked);
    const intent = auditRecords(data).find(
      (it): it is AuditRecord & { body: IntentBody } =>
        it.body.kind === "intent" && it.body.callId === callIdOf(answer),
    );
    expect(intent?.body).toMatchObject({
      decision: "permit",
      shadow: [{ would: "deny", policies: [{ id: "sandbox.cedar#maybe-later" }] }],
      request: { action: "exec", argv: ["date"] },
    });
  });
});

test.skipIf(!hasPty)("what a policy wants asked at the terminal is answered there, and nowhere else", async () => {
  answers = [accept("allow once")];
  const asked = forms.length;
  const call = client.call("exec", { argv: ["mkdir", "/workspace/made"] });
  const env = { ...process.env, NO_COLOR: "1", GLOVEBOX_DATA_DIR: data.directory };
  await using terminal = atTerminal([process.execPath, ENTRY, "approve", "--watch", "--data-dir", data.directory], env);
  await terminal.see(/mkdir \/workspace\/made/);
  await terminal.see(/allow once.*: /);
  terminal.type("a");
  const [, code = ""] = await terminal.see(/Type (\w{4}) to allow once: /);
  terminal.type(code);
  expect((await call).result).toMatchObject({ exitCode: 0 });
  expect(forms).toHaveLength(asked);
  expect(events("approval-given").at(-1)).toMatchObject({ approver: `local:${userName()}`, channel: "terminal" });
});

describe("a policy that changes", () => {
  test("under load no call is lost, and each is decided by a whole bundle; a broken one changes nothing [G28]", async () => {
    const write = (round: number) => {
      // Not at once: what is half written must not be taken.
      writeFileSync(
        join(policy, "extra.cedar"),
        `@id("round")\n@reason("round ${round}")\nforbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "round-${round}" };\n`,
      );
      writeFileSync(join(policy, "bundle.yaml"), `name: default\nversion: 1.0.${round}\n`);
    };
    const before = events("policy-loaded").length;
    let calls = 0;
    let failures = 0;
    const stop = new AbortController();
    const load = Array.from({ length: 4 }, async () => {
      while (!stop.signal.aborted) {
        const { isError } = await client.call("listSessions");
        calls += 1;
        if (isError) failures += 1;
      }
    });
    for (let round = 1; round <= 3; round += 1) {
      write(round);
      await expect.poll(() => events("policy-loaded").length, { timeout: 30_000, interval: 100 }).toBe(before + round);
    }
    writeFileSync(join(policy, "extra.cedar"), "permit (principal, action, resource) when { context.nonsense };\n");
    await expect.poll(() => events("policy-rejected").length, { timeout: 30_000, interval: 100 }).toBe(1);
    stop.abort();
    await Promise.all(load);
    expect(failures).toBe(0);
    expect(calls).toBeGreaterThan(20);
    const loaded = events("policy-loaded") as { bundle: { digest: string; version: string } }[];
    const whole = new Set([...loaded.map((it) => it.bundle.digest), startedWith()]);
    for (const { body } of auditRecords(data)) {
      if (body.kind === "intent") expect(whole).toContain(body.bundle.digest);
    }
    expect(events("policy-rejected")[0]).toMatchObject({
      code: "POLICY_INVALID",
      message: expect.stringContaining("extra.cedar:1"),
      inForce: { version: "1.0.3" },
    });
    expect((await client.call("exec", { argv: ["round-3"] })).text).toContain("round 3");
  });

  test("the tools that it can't permit any more are gone from the list, and the client is told", async () => {
    const told = Promise.withResolvers<void>();
    client.client.setNotificationHandler(ToolListChangedNotificationSchema, () => told.resolve());
    const names = async () => (await client.client.listTools()).tools.map((it) => it.name);
    expect(await names()).toContain("shell");
    // Its own tests say that a shell may be used.
    writeFileSync(join(policy, "tests.yaml"), "[]\n");
    writeFileSync(
      join(policy, "extra.cedar"),
      '@reason("no shell")\nforbid (principal, action == Glovebox::Action::"shell", resource);\n',
    );
    await told.promise;
    expect(await names()).not.toContain("shell");
    expect((await client.call("shell", { script: "true" })).text).toContain("no shell");
  });
});

test("a budget that is used up says when there is some of it again, also after a restart [G31]", async () => {
  const own = join(data.directory, "budgeted");
  mkdirSync(own);
  const frugal = bundle("frugal", "", "budgets:\n  principal: { callsPerHour: 3 }\n");
  const there = { directory: own, [Symbol.dispose]: () => undefined };
  const ask = async (calls: number) => {
    await using one = await connect(there, ["--policy", frugal, "--spares", "0"]);
    const results = [];
    for (let at = 0; at < calls; at += 1) results.push(await one.call("exec", { argv: ["true"] }));
    return results;
  };
  const first = await ask(2);
  expect(first.every((it) => it.text.includes("callsPerHour"))).toBe(false);
  const later = await ask(2);
  expect(later.at(-1)?.text).toMatch(/callsPerHour.*\n.*frees up at/s);
});

function startedWith(): string {
  const [first] = auditRecords(data).filter(({ body }) => body.kind === "event" && body.event === "gateway-started");
  const body = first?.body as EventBody & { facts: { bundle: { digest: string } } };
  return body.facts.bundle.digest;
}
