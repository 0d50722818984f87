import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { type ElicitRequest, ElicitRequestSchema, type ElicitResult } from "@modelcontextprotocol/sdk/types.js";
import { expect, onTestFinished, test } from "vitest";
import type { Approval } from "../../src/approval/approval.ts";
import { createElicitation } from "../../src/approval/elicitation.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { createServer } from "../../src/mcp/server.ts";
import { askedFor, testDesk } from "../support/approval.ts";

type Answer = (form: ElicitRequest["params"], signal: AbortSignal) => Promise<ElicitResult> | ElicitResult;

const accepted = (content: NonNullable<ElicitResult["content"]>): ElicitResult => ({ action: "accept", content });
const ONCE = accepted({ decision: "allow once" });

/** A real client at a real server, whose every call is asked about. Without `answer` the client shows no forms. */
async function connected(answer?: Answer, { timeoutMs = 5_000, args = { argv: ["git", "push"] } as object } = {}) {
  const log = createLog("silent");
  const elicitation = createElicitation(Date.now);
  const desk = await testDesk([elicitation.channel], { nowMs: Date.now, timeoutMs });
  const approvals: Approval[] = [];
  const stop = new AbortController();
  const server = createServer({
    ...{
      version: "1",
      instructions: "",
      capabilities: () => [],
      skills: () => [],
      onCapabilities: () => new DisposableStack(),
      stopping: stop.signal,
      elicitation,
      log,
    },
    call: async ({ principal, signal, progress }) => {
      approvals.push(await desk.approve(askedFor("exec", args, { principal }), signal, progress));
      return { kind: "failed", callId: "call-1", error: new GatewayError("CANCELLED") };
    },
  });
  const client = new Client({ name: "test", version: "1" }, { capabilities: answer ? { elicitation: {} } : {} });
  if (answer) client.setRequestHandler(ElicitRequestSchema, ({ params }, { signal }) => answer(params, signal));
  const [here, there] = InMemoryTransport.createLinkedPair();
  await Promise.all([server.connect(there), client.connect(here)]);
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  const progress: string[] = [];
  const call = async (signal?: AbortSignal) => {
    await client.callTool({ name: "exec", arguments: {} }, undefined, {
      onprogress: ({ message = "" }) => progress.push(message),
      ...(signal && { signal }),
    });
    return approvals.at(-1);
  };
  return { desk, call, progress, approvals, stop };
}

test("the user is asked by a form that says what would run, and allows it once", async () => {
  const forms: ElicitRequest["params"][] = [];
  const { call, desk, progress } = await connected((form) => {
    forms.push(form);
    return accepted({ decision: "allow once", comment: "go on" });
  });
  expect(await call()).toMatchObject({
    approved: true,
    channel: "elicitation",
    approver: expect.stringMatching(/^client:local:/),
  });
  expect(forms[0]?.message).toContain("  command: git push\n");
  expect(forms[0]).toMatchObject({
    requestedSchema: {
      required: ["decision"],
      properties: { decision: { type: "string", enum: ["allow once", "allow this pattern for the session", "deny"] } },
    },
  });
  expect(progress).toEqual([expect.stringContaining("waiting for a person's approval")]);
  expect(desk.events().at(-1)?.facts).toMatchObject({ comment: "go on", scope: "call" });
  await call();
  expect(forms).toHaveLength(2);
});

test("for the session, where there is a pattern", async () => {
  let asked = 0;
  const { call } = await connected(() => {
    asked += 1;
    return accepted({ decision: "allow this pattern for the session" });
  });
  expect(await call()).toMatchObject({ channel: "elicitation" });
  expect(await call()).toMatchObject({ channel: "grant" });
  expect(asked).toBe(1);
});

test.each<[string, ElicitResult, object]>([
  [
    "a no",
    accepted({ decision: "deny", comment: "use a branch" }),
    { why: "denied", text: expect.stringContaining("use a branch") },
  ],
  ["a form that is declined", { action: "decline" }, { why: "denied" }],
  ["a form that is closed", { action: "cancel" }, { why: "unreachable" }],
  ["nothing chosen", accepted({}), { why: "unreachable" }],
  ["no content", { action: "accept" }, { why: "unreachable" }],
  ["something else", accepted({ decision: "yes" }), { why: "unreachable" }],
  ["the wrong case", accepted({ decision: "Allow once" }), { why: "unreachable" }],
  ["too long a comment", accepted({ decision: "allow once", comment: "x".repeat(501) }), { why: "unreachable" }],
  ["a list", accepted({ decision: ["allow once"] }), { why: "unreachable" }],
])("%s is not a yes", async (_what, result, expected) => {
  const { call } = await connected(() => result);
  expect(await call()).toMatchObject({ approved: false, ...expected });
});

test("for the session is no choice where there is no pattern", async () => {
  const args = { argv: ["bash"], stdin: "x" };
  const { call } = await connected(() => accepted({ decision: "allow this pattern for the session" }), { args });
  expect(await call()).toMatchObject({ why: "unreachable" });
});

test("a client that shows no forms, or fails to, has asked nobody", async () => {
  expect(await (await connected()).call()).toMatchObject({ why: "unreachable" });
  const failing = await connected(() => {
    throw new Error("no window");
  });
  expect(await failing.call()).toMatchObject({ why: "unreachable" });
});

test("a form that nobody fills in is taken back when the question expires", async () => {
  const closed = Promise.withResolvers<void>();
  const { call } = await connected(
    (_form, signal) => {
      signal.addEventListener("abort", () => closed.resolve(), { once: true });
      return new Promise<ElicitResult>(() => undefined);
    },
    { timeoutMs: 300 },
  );
  expect(await call()).toMatchObject({ why: "expired" });
  await closed.promise;
});

test("a call that is given up takes its form with it", async () => {
  const closed = Promise.withResolvers<void>();
  const shown = Promise.withResolvers<void>();
  const { call, desk } = await connected((_form, signal) => {
    signal.addEventListener("abort", () => closed.resolve(), { once: true });
    shown.resolve();
    return new Promise<ElicitResult>(() => undefined);
  });
  const stop = new AbortController();
  const called = call(stop.signal);
  await shown.promise;
  stop.abort();
  await expect(called).rejects.toThrow();
  await closed.promise;
  await expect.poll(() => desk.story()).toEqual(["requested", "refused cancelled"]);
});

test("once the gateway stops, the client is asked nothing any more", async () => {
  let asked = 0;
  const { call, stop, desk } = await connected(() => {
    asked += 1;
    return ONCE;
  });
  expect(await call()).toMatchObject({ approved: true });
  stop.abort();
  expect(await desk.ask(askedFor("exec", { argv: ["make"] }))).toMatchObject({ why: "unreachable" });
  expect(asked).toBe(1);
});
