import { expect, test } from "vitest";
import { z } from "zod";
import type { RecordBody } from "../../src/audit/record.ts";
import { call } from "../../src/call/call.ts";
import { keepable } from "../../src/call/keepable.ts";
import type { CallPorts, CallRequest } from "../../src/call/ports.ts";
import { type Capability, capability } from "../../src/capability/capability.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import type { Decision } from "../../src/policy/decision.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";
import type { SessionTable } from "../../src/session/session.ts";
import { NO_BODIES } from "../support/bodies.ts";
import { NOBODY } from "../support/policy.ts";

/** The order of the spine, on ports that write down what happens to them. */
function spine(
  options: {
    outcome?: "permit" | "deny" | "ask";
    failAppend?: RecordBody["kind"];
    run?: Capability["run"];
    accounts?: Partial<CallPorts["accounts"]>;
    approvals?: CallPorts["approvals"];
    failDecide?: GatewayError;
    machineId?: string;
  } = {},
) {
  const events: string[] = [];
  const records: RecordBody[] = [];
  const bundle = { name: "test", version: "1.0.0", digest: "sha256:0" };
  const probe = capability({
    name: "probe",
    description: "",
    annotations: { title: "", readOnly: true, destructive: false, idempotent: true, openWorld: false },
    input: z.strictObject({ word: z.string() }),
    output: z.strictObject({ echo: z.string() }),
    describe: (args) => {
      events.push("describe");
      return { resource: { type: "session", id: "ses-1" }, context: {}, audit: { word: args.word } };
    },
    run:
      (options.run as never) ??
      (async (args: { word: string }) => {
        events.push("run");
        return { result: { echo: args.word }, text: args.word, facts: { length: args.word.length } };
      }),
  });
  const sessions = {
    idOf: () => "ses-1",
    lease: () => ({
      machineId: options.machineId,
      session: async () => {
        throw new GatewayError("IMAGE_MISSING");
      },
      [Symbol.asyncDispose]: async () => void events.push("release"),
    }),
  } as unknown as SessionTable;
  const seen: unknown[] = [];
  const decided = (): Decision => {
    events.push("decide");
    if (options.failDecide) throw options.failDecide;
    return { outcome: options.outcome ?? "permit", policies: [], problems: [], bundle };
  };
  const ports: CallPorts = {
    find: (name) => (name === "probe" ? probe : undefined),
    accounts: {
      asked: (request) => request,
      reserve: (request) => {
        seen.push(request);
        return { decision: decided(), request };
      },
      relief: () => undefined,
      run: () => {
        events.push("count");
        return new DisposableStack();
      },
      ...options.accounts,
    },
    policy: holdPolicy({
      identity: bundle,
      layers: [],
      shadows: [],
      sets: { enforced: "" },
      vocabulary: OWN_VOCABULARY,
      profile: profileSchema.parse({}),
    }),
    approvals: options.approvals ?? NOBODY,
    audit: {
      append: async (body) => {
        if (body.kind === options.failAppend) throw new GatewayError("AUDIT_UNWRITABLE");
        events.push(body.kind);
        records.push(body);
      },
    },
    bodies: NO_BODIES,
    sessions,
    mounts: createMounts([], []),
    log: createLog("silent"),
  };
  const principal = { id: "local:test", client: { name: "t", version: "1" }, transport: "stdio" as const };
  const controller = new AbortController();
  const ask = (tool: string, args: unknown, names: Pick<CallRequest, "trace" | "requestId"> = {}) =>
    call({ tool, args, principal, ...names, signal: controller.signal, progress: () => undefined }, ports);
  return { events, records, seen, ask, controller };
}

test("the order is describe, decide, intent, run, outcome [G3] [G5]", async () => {
  const { ask, events, records } = spine();
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "done", outcome: { result: { echo: "hi" } } });
  expect(events).toEqual(["describe", "decide", "intent", "count", "run", "outcome", "release"]);
  expect(records[1]).toMatchObject({ kind: "outcome", status: "ok", facts: { length: 2 }, sessionId: "ses-1" });
});

test("the caller's trace and number are on record, and policy sees neither", async () => {
  const trace = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "a=1" };
  const { ask, records, seen } = spine({ machineId: "mach-1" });
  await ask("probe", { word: "hi" }, { trace, requestId: "7" });
  await ask("probe", { word: 1 }, { trace, requestId: "8" });
  await ask("probe", { word: "hi" });
  expect(records.map((it) => ("trace" in it ? it.trace : undefined))).toEqual([
    trace,
    trace,
    trace,
    undefined,
    undefined,
  ]);
  expect(records.map((it) => ("requestId" in it ? it.requestId : undefined))).toEqual([
    "7",
    undefined,
    "8",
    undefined,
    undefined,
  ]);
  expect(records[1]).toMatchObject({ kind: "outcome", machineId: "mach-1" });
  expect(seen).toHaveLength(2);
  expect(seen[0]).toEqual(seen[1]);
  expect(JSON.stringify(records.map((it) => ("request" in it ? it.request : "")))).not.toContain("4bf92f");
});

test("a denied call runs nothing and has an intent only [G4]", async () => {
  const { ask, events } = spine({ outcome: "deny" });
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "denied" });
  expect(events).toEqual(["describe", "decide", "intent"]);
});

test("bad arguments and unknown tools never reach policy, and are recorded [G4]", async () => {
  const { ask, events, records } = spine();
  expect(await ask("probe", { word: 1 })).toMatchObject({ kind: "failed", error: { code: "INVALID_ARGUMENTS" } });
  expect(await ask("probe", { word: "x", extra: 1 })).toMatchObject({ error: { code: "INVALID_ARGUMENTS" } });
  expect(await ask("nothing", {})).toMatchObject({ error: { code: "UNKNOWN_TOOL" } });
  expect(events).toEqual(["intent", "intent", "intent"]);
  expect(records.map((it) => it.kind === "intent" && it.decision)).toEqual(["invalid", "invalid", "invalid"]);
});

test("an intent that cannot be written refuses the call [G5]", async () => {
  const { ask, events } = spine({ failAppend: "intent" });
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "failed", error: { code: "AUDIT_UNWRITABLE" } });
  expect(events).toEqual(["describe", "decide"]);
});

test("a call that can't be decided is refused, and on record as a denial [G5]", async () => {
  const { ask, events, records } = spine({ failDecide: new GatewayError("BUDGETS_UNREADABLE", "the file is damaged") });
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "failed", error: { code: "BUDGETS_UNREADABLE" } });
  expect(events).toEqual(["describe", "decide", "intent"]);
  expect(records[0]).toMatchObject({ decision: "deny", policies: [], problems: ["the file is damaged"] });
});

test("an outcome that cannot be written is reported instead of the result", async () => {
  const { ask } = spine({ failAppend: "outcome" });
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "failed", error: { code: "AUDIT_UNWRITABLE" } });
});

test("whatever a capability throws, there is one outcome and nothing of it leaks [G6]", async () => {
  for (const thrown of [new TypeError("host path /root/x"), "a string", undefined, new GatewayError("DISK_FULL")]) {
    const { ask, records } = spine({
      run: async () => {
        throw thrown;
      },
    });
    const result = await ask("probe", { word: "hi" });
    expect(result).toMatchObject({ kind: "failed" });
    expect(JSON.stringify(result.kind === "failed" && result.error.message)).not.toContain("/root");
    expect(records.filter((it) => it.kind === "outcome")).toHaveLength(1);
  }
});

test("a call that was permitted, or approved, has its outcome when its budget can't be read any more [G6]", async () => {
  const unreadable = (): never => {
    throw new GatewayError("BUDGETS_UNREADABLE");
  };
  const approve = async () =>
    ({ approved: true, approvalId: "a", approver: "local:ada", channel: "terminal" }) as const;
  const approvals = { ...NOBODY, approve };
  const askedOnce = (): CallPorts["accounts"]["reserve"] => {
    const bundle = { name: "test", version: "1.0.0", digest: "sha256:0" };
    let isAsked = false;
    return (request) => {
      if (isAsked) return unreadable();
      isAsked = true;
      return { decision: { outcome: "ask", policies: [], problems: [], bundle }, request };
    };
  };
  for (const options of [
    { accounts: { run: unreadable } },
    { outcome: "ask" as const, approvals, accounts: { reserve: askedOnce() } },
    { outcome: "ask" as const, approvals, accounts: { run: unreadable } },
  ]) {
    const { ask, records, events } = spine(options);
    expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "failed", error: { code: "BUDGETS_UNREADABLE" } });
    expect(records.filter((it) => it.kind === "outcome")).toMatchObject([{ code: "BUDGETS_UNREADABLE" }]);
    expect(events).not.toContain("run");
  }
});

test("a cancelled call is CANCELLED", async () => {
  const { ask, controller } = spine({
    run: async (_, context) => {
      controller.abort();
      context.signal.throwIfAborted();
      throw new Error("unreachable");
    },
  });
  expect(await ask("probe", { word: "hi" })).toMatchObject({ error: { code: "CANCELLED" } });
});

test("what is kept of unchecked arguments is small JSON or a digest, never a lone surrogate", () => {
  expect(keepable(undefined)).toBeNull();
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level += 1) deep = [deep];
  expect(keepable(deep)).toBe("(nested too deeply to be kept)");
  expect(keepable({ env: { KEY: "value" }, argv: 1 })).toEqual({ env: ["KEY"], argv: 1 });
  expect(keepable({ env: "KEY=value" })).toEqual({ env: "string" });
  expect(keepable({ a: 1 })).toEqual({ a: 1 });
  expect(keepable({ a: "x\ud800" })).toEqual({ a: "x\ufffd" });
  expect(keepable({ a: "x".repeat(5_000) })).toEqual({ bytes: 5_008, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
});
