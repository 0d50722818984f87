import { expect, test } from "vitest";
import { z } from "zod";
import type { RecordBody } from "../../src/audit/record.ts";
import { type CallPorts, call } from "../../src/call/call.ts";
import { keepable } from "../../src/call/keepable.ts";
import { type Capability, capability } from "../../src/capability/capability.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { SessionTable } from "../../src/session/session.ts";

/** The order of the spine, on ports that write down what happens to them. */
function spine(
  options: { outcome?: "permit" | "deny"; failAppend?: RecordBody["kind"]; run?: Capability["run"] } = {},
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
      session: async () => {
        throw new GatewayError("IMAGE_MISSING");
      },
      [Symbol.asyncDispose]: async () => void events.push("release"),
    }),
  } as unknown as SessionTable;
  const ports: CallPorts = {
    find: (name) => (name === "probe" ? probe : undefined),
    decide: () => {
      events.push("decide");
      return { outcome: options.outcome ?? "permit", policies: [], problems: [], bundle };
    },
    bundle,
    profile: profileSchema.parse({}),
    audit: {
      append: async (body) => {
        if (body.kind === options.failAppend) throw new GatewayError("AUDIT_UNWRITABLE");
        events.push(body.kind);
        records.push(body);
      },
    },
    sessions,
    mounts: createMounts([], []),
    log: createLog("silent"),
  };
  const principal = { id: "local:test", client: { name: "t", version: "1" }, transport: "stdio" as const };
  const controller = new AbortController();
  const ask = (tool: string, args: unknown) =>
    call({ tool, args, principal, signal: controller.signal, progress: () => undefined }, ports);
  return { events, records, ask, controller };
}

test("the order is describe, decide, intent, run, outcome [G3] [G5]", async () => {
  const { ask, events, records } = spine();
  expect(await ask("probe", { word: "hi" })).toMatchObject({ kind: "done", outcome: { result: { echo: "hi" } } });
  expect(events).toEqual(["describe", "decide", "intent", "run", "outcome", "release"]);
  expect(records[1]).toMatchObject({ kind: "outcome", status: "ok", facts: { length: 2 }, sessionId: "ses-1" });
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
