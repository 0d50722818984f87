import { release } from "node:os";
import { describe, expect, test } from "vitest";
import { explain } from "../../src/call/explain.ts";
import type { Explanation } from "../../src/capability/capability.ts";
import { findCapability } from "../../src/capability/registry.ts";
import { GatewayError } from "../../src/errors.ts";
import { policyOf } from "../../src/policy/decide.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { NO_USAGE } from "../../src/policy/usage.ts";
import type { SessionSnapshots, SessionSummary } from "../../src/session/session.ts";
import { layerOf } from "../support/bundle.ts";
import { workbench } from "../support/capability-context.ts";

const READY: SessionSummary = {
  sessionId: "ses-1",
  name: "build",
  state: "ready",
  openedAt: "2026-01-31T09:00:00.000Z",
  expiresAt: "2026-01-31T13:00:00.000Z",
  approved: [],
  runningProcesses: 2,
  isolation: {
    machine: {
      engine: "qemu",
      engineVersion: "7.2.22",
      level: "microvm",
      acceleration: "tcg",
      start: "cold",
      warning: "no usable hardware virtualisation",
      pid: 4242,
    },
    attestation: {
      bootId: "01234567-89ab-cdef-0123-456789abcdef",
      kernelRelease: "6.1.0-guest",
      hostname: "sandbox-1",
      uids: [1000, 1000, 1000, 1000],
      gids: [1000, 1000, 1000, 1000],
      groups: [],
      capabilities: {
        inheritable: "0000000000000000",
        permitted: "0000000000000000",
        effective: "0000000000000000",
        bounding: "0000000000000000",
        ambient: "0000000000000000",
      },
      noNewPrivs: true,
      seccompMode: 2,
      mounts: [],
      unmaskedPaths: [],
      writablePaths: [],
      sockets: [],
      interfaces: ["lo"],
      routes: [],
      devices: [],
    },
  },
};

const TAKEN = { name: "before", takenAt: "2026-01-31T10:00:00.000Z", sessionId: "ses-1", bytes: 315_000_000 };

function snapshotsThat(does: Partial<SessionSnapshots>): SessionSnapshots {
  const unexpected = (): never => {
    throw new GatewayError("INTERNAL", "not expected in this test");
  };
  return { list: unexpected, take: unexpected, restore: unexpected, fork: unexpected, delete: unexpected, ...does };
}

describe("sessions", () => {
  test("status shows both kernels, privileges and limits, and nothing of the host's processes", async () => {
    await using bench = workbench({ sessions: { status: () => READY } });
    const { result, text } = await bench.call("sessionStatus");
    expect(result).toMatchObject({
      sessionId: "ses-1",
      state: "ready",
      isolation: {
        level: "microvm",
        engine: "qemu 7.2.22",
        hostKernel: release(),
        guestKernel: "6.1.0-guest",
        uid: 1000,
        capabilities: "0",
        noNewPrivileges: true,
        seccomp: true,
        networkInterfaces: ["lo"],
      },
      limits: { memoryMiB: 1024, execMs: 600_000, outputBytes: 65_536, processes: 32 },
    });
    expect(text).toContain(`kernel of this computer: ${release()}; of the sandbox: 6.1.0-guest`);
    expect(text).toContain("warning: no usable hardware virtualisation");
    expect(JSON.stringify(result)).not.toContain("4242");
  });

  test("status of a default session that is not open says so and opens nothing", async () => {
    await using bench = workbench({ sessions: { status: () => undefined } });
    const { result, text } = await bench.call("sessionStatus");
    expect(result).toMatchObject({ state: "unopened", image: "default" });
    expect(result).not.toHaveProperty("sessionId");
    expect(text).toContain("not open yet");
  });

  test("open, reset, list and close act for the caller", async () => {
    const asked: unknown[] = [];
    await using bench = workbench({
      sessions: {
        open: async ({ principal, name }) => {
          asked.push(["open", principal.id, name]);
          return READY;
        },
        reset: async ({ principal, sessionId }) => {
          asked.push(["reset", principal.id, sessionId]);
          return READY;
        },
        list: (principal) => {
          asked.push(["list", principal.id]);
          return [READY, { ...READY, sessionId: "ses-2", state: "opening", detail: "booting" }];
        },
        close: async (principal, sessionId) => void asked.push(["close", principal.id, sessionId]),
        snapshots: snapshotsThat({ list: async () => [TAKEN] }),
      },
    });
    const opened = await bench.call("openSession", { name: "build" });
    expect(opened.result).toMatchObject({ sessionId: "ses-1", name: "build", isolation: { level: "microvm" } });
    expect(opened.facts).toEqual({ sessionId: "ses-1", state: "ready" });
    await bench.call("resetSession", { sessionId: "ses-1" });
    await bench.call("resetSession");
    const listed = await bench.call("listSessions");
    expect(listed.result.sessions).toHaveLength(2);
    expect(JSON.stringify(listed.result)).not.toContain("isolation");
    expect(listed.text).toContain("ses-2 (build): opening (booting)");
    expect(listed.result.snapshots).toEqual([TAKEN]);
    expect(listed.text).toContain("snapshot before: taken 2026-01-31T10:00:00.000Z of ses-1, 301 MiB");
    expect((await bench.call("closeSession", { sessionId: "ses-1" })).result).toEqual({
      sessionId: "ses-1",
      state: "closed",
    });
    expect(asked).toEqual([
      ["open", "local:test", "build"],
      ["reset", "local:test", "ses-1"],
      ["reset", "local:test", undefined],
      ["list", "local:test"],
      ["close", "local:test", "ses-1"],
    ]);
  });

  test("snapshots are taken, restored, forked and deleted for the caller", async () => {
    const asked: unknown[] = [];
    const note = (
      what: string,
      { principal, sessionId, snapshot, name }: Record<string, unknown> & { principal: { id: string } },
    ) => void asked.push([what, principal.id, sessionId, snapshot, name]);
    const snapshots = snapshotsThat({
      take: async (options) => {
        note("take", { ...options });
        return TAKEN;
      },
      restore: async (options) => {
        note("restore", { ...options });
        return READY;
      },
      fork: async (options) => {
        note("fork", { ...options });
        return { ...READY, sessionId: "ses-9" };
      },
      delete: async (principal, snapshot) => note("delete", { principal, snapshot }),
    });
    await using bench = workbench({ sessions: { snapshots } });
    expect((await bench.call("snapshotSession", { snapshot: "before" })).result).toEqual(TAKEN);
    await bench.call("restoreSession", { snapshot: "before", sessionId: "ses-1" });
    const forked = await bench.call("forkSession", { name: "copy" });
    expect(forked.result).toMatchObject({ sessionId: "ses-9", state: "ready" });
    await bench.call("forkSession", { snapshot: "before" });
    expect((await bench.call("deleteSnapshot", { snapshot: "before" })).text).toBe("before is deleted");
    expect(asked).toEqual([
      ["take", "local:test", undefined, "before", undefined],
      ["restore", "local:test", "ses-1", "before", undefined],
      ["fork", "local:test", undefined, undefined, "copy"],
      ["fork", "local:test", undefined, "before", undefined],
      ["delete", "local:test", undefined, "before", undefined],
    ]);
  });

  test("what the sessions refuse is refused", async () => {
    const refuse = () => {
      throw new GatewayError("SESSION_NOT_FOUND");
    };
    await using bench = workbench({ sessions: { status: refuse, close: async () => refuse() } });
    for (const tool of ["sessionStatus", "closeSession"]) {
      await expect(bench.call(tool, { sessionId: "ses-x" })).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    }
  });
});

describe("explainPolicy", () => {
  const bundle = { name: "default", version: "1.0.0", digest: "sha256:abc" };

  test("tells the decision, its policies and the facts", async () => {
    const explanation: Explanation = {
      valid: true,
      decision: {
        outcome: "deny",
        policies: [{ id: "a.cedar#no", effect: "forbid", reason: "because" }],
        problems: [],
        bundle,
      },
      description: {
        resource: { type: "path", path: "/etc/x" },
        context: { bytes: 1, long: "y".repeat(999) },
      },
    };
    const asked: unknown[] = [];
    const decide = (tool: string, args: unknown) => {
      asked.push([tool, args]);
      return explanation;
    };
    await using bench = workbench({ decide });
    const args = { tool: "writeFile", arguments: { path: "/etc/x", content: "y" } };
    const { result, text } = await bench.call("explainPolicy", args);
    expect(asked).toEqual([["writeFile", { path: "/etc/x", content: "y" }]]);
    expect(result).toMatchObject({
      tool: "writeFile",
      valid: true,
      outcome: "deny",
      policies: [{ id: "a.cedar#no", effect: "forbid", reason: "because" }],
      bundle,
      resource: "/etc/x",
      facts: { bytes: 1, long: `${"y".repeat(300)}…` },
    });
    expect(text).toMatch(/^writeFile would be denied\. Nothing was executed\.\n- a\.cedar#no \(forbid\): because/);
  });

  test("tells what the layers make of it, and what would be permitted instead", async () => {
    const [organisation, user] = [
      layerOf("organisation", 'permit (principal, action == Glovebox::Action::"exec", resource);'),
      layerOf("user", 'permit (principal, action == Glovebox::Action::"exec", resource) when { !context.terminal };'),
    ];
    const policy = policyOf([organisation, user], organisation.bundle.profile);
    const accounts = { asked: (it: PolicyRequest) => it };
    const ports = { policy: holdPolicy(policy), accounts, find: findCapability };
    const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
    await using bench = workbench({
      decide: (tool, args) => explain(tool, args, { principal, sessionId: "ses-1" }, ports),
    });
    const asked = { tool: "exec", arguments: { argv: ["ls"], terminal: true } };
    const { result, text } = await bench.call("explainPolicy", asked);
    expect(result).toMatchObject({
      outcome: "deny",
      bundle: { name: "t+t", version: "1.0.0+1.0.0" },
      layers: [
        { layer: "organisation", outcome: "permit", policies: [{ id: "t.cedar#0", effect: "permit" }], problems: [] },
        { layer: "user", outcome: "deny", policies: [], problems: [] },
      ],
      wouldBePermitted: { arguments: { terminal: null }, text: "it would be permitted without `terminal`" },
    });
    expect(text).toContain(
      "organisation: permit\n- t.cedar#0 (permit)\nuser: deny\n- no policy permits it\ninstead: it would be",
    );
    const none = await bench.call("explainPolicy", { tool: "exec", arguments: { argv: ["ls"] } });
    expect(none.result).not.toHaveProperty("wouldBePermitted");
  });

  test("says all of it by what has been used, by the session that the call would be for", async () => {
    const [organisation, user] = [
      layerOf("organisation", 'permit (principal, action == Glovebox::Action::"exec", resource);'),
      layerOf(
        "user",
        `permit (principal, action == Glovebox::Action::"exec", resource);
        @id("few") @reason("used up") forbid (principal, action == Glovebox::Action::"exec", resource)
        when { principal.session.callsLastDay >= 1 };`,
      ),
    ];
    const policy = policyOf([organisation, user], organisation.bundle.profile);
    const usageOf = (sessionId: string) => {
      const session = { ...NO_USAGE.session, callsLastDay: sessionId === "ses-2" ? 1 : 0 };
      return { ...NO_USAGE, session };
    };
    const accounts = { asked: (it: PolicyRequest, sessionId: string) => ({ ...it, usage: usageOf(sessionId) }) };
    const ports = { policy: holdPolicy(policy), accounts, find: findCapability };
    const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
    await using bench = workbench({
      decide: (tool, args) => explain(tool, args, { principal, sessionId: "ses-1" }, ports),
    });
    const other = { tool: "exec", arguments: { argv: ["ls"], sessionId: "ses-2" } };
    expect((await bench.call("explainPolicy", other)).result).toMatchObject({
      outcome: "deny",
      layers: [{ outcome: "permit" }, { outcome: "deny", policies: [{ id: "t.cedar#few", reason: "used up" }] }],
    });
    const own = { tool: "exec", arguments: { argv: ["ls"] } };
    expect((await bench.call("explainPolicy", own)).result).toMatchObject({ outcome: "permit" });
  });

  test("says when nothing permits it, and when the arguments do not fit", async () => {
    const description = { resource: { type: "session", id: "default" }, context: {}, audit: {} } as const;
    const decision = { outcome: "deny", policies: [], problems: [], bundle } as const;
    await using denying = workbench({ decide: () => ({ valid: true, decision, description }) });
    expect((await denying.call("explainPolicy", { tool: "exec" })).text).toContain("no policy permits it");
    await using invalid = workbench({ decide: () => ({ valid: false, problem: "argv: is missing" }) });
    const { result, facts } = await invalid.call("explainPolicy", { tool: "exec" });
    expect(result).toEqual({ tool: "exec", valid: false, problem: "argv: is missing", policies: [], problems: [] });
    expect(facts).toEqual({ tool: "exec", outcome: "invalid" });
  });
});
