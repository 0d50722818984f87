import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { EventBody, RecordBody } from "../../src/audit/record.ts";
import type { Machine } from "../../src/engine/engine.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { openLedger } from "../../src/session/ledger.ts";
import { openSandbox, type SandboxPorts } from "../../src/session/sandbox.ts";
import { createSessions } from "../../src/session/sessions.ts";
import type { TenancyPorts } from "../../src/session/tenancy.ts";

/** Life and death of sessions, on a stand-in for the machine: the real one is tested in contract/ and e2e/. */
const ada = { id: "local:ada", client: { name: "t", version: "1" }, transport: "stdio" as const };
const eve = { ...ada, id: "local:eve" };
const signal = new AbortController().signal;
const progress = () => undefined;

interface Stand {
  readonly ports: TenancyPorts;
  readonly records: RecordBody[];
  readonly machines: { readonly end: AbortController; disposed: boolean; paused: boolean }[];
  readonly stateDirectory: string;
  /** What opening a machine waits for. */
  gate: Promise<void>;
}

async function stand(profile: object = {}): Promise<Stand> {
  const stateDirectory = mkdtempSync(join(tmpdir(), "glovebox-sessions-"));
  const ledger = await openLedger(stateDirectory, "gw-test");
  onTestFinished(async () => {
    await ledger[Symbol.asyncDispose]();
    rmSync(stateDirectory, { recursive: true, force: true });
  });
  const records: RecordBody[] = [];
  const machines: Stand["machines"] = [];
  const sandboxPorts: SandboxPorts = {
    ledger,
    findImage: async () => ({ digest: "", kernel: "", initramfs: "", root: "", data: "", seal: "", agentImage: "" }),
    engine: {
      name: "stand-in",
      open: () => Promise.reject(new Error("sessions are opened prepared")),
      openPrepared: async (_spec, _preparation, options) => {
        const aborted = new Promise<never>((_, reject) => {
          options.signal.addEventListener("abort", () => reject(options.signal.reason));
        });
        await Promise.race([made.gate, aborted]);
        const machine = { end: new AbortController(), disposed: false, paused: false };
        machines.push(machine);
        const opened = {
          lost: machine.end.signal,
          facts: { level: "microvm" },
          pause: async () => {
            machine.paused = true;
          },
          resume: async () => {
            machine.paused = false;
          },
          [Symbol.asyncDispose]: async () => {
            machine.disposed = true;
          },
        };
        return { machine: opened as unknown as Machine, prepared: "container" };
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    domain: "tests",
    containerShape: () => "",
    startContainer: async () => "container",
    adoptContainer: () => ({ [Symbol.asyncDispose]: async () => undefined }) as never,
    attest: async () => ({}) as never,
  };
  const made: Stand = {
    records,
    machines,
    stateDirectory,
    gate: Promise.resolve(),
    ports: {
      profile: profileSchema.parse(profile),
      audit: { append: async (body) => void records.push(body) },
      log: createLog("silent"),
      openSandbox: (options) => openSandbox(profileSchema.parse(profile), sandboxPorts, options),
    },
  };
  return made;
}

const events = (records: readonly RecordBody[]) =>
  records.filter((it): it is EventBody => it.kind === "event").map((it) => it.event);

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] }));
afterEach(() => void vi.useRealTimers());

test("the default session opens at first use, once for concurrent calls", async () => {
  const { ports, machines, records } = await stand();
  await using sessions = createSessions(ports);
  expect(sessions.status(ada, undefined)).toBeUndefined();
  const id = sessions.idOf(ada, undefined);
  const leases = [1, 2, 3].map(() => sessions.lease(ada, undefined, "call"));
  const opened = await Promise.all(leases.map((it) => it.session(signal, progress)));
  expect(opened.map((it) => it.id)).toEqual([id, id, id]);
  expect(machines).toHaveLength(1);
  expect(events(records)).toEqual(["session-opened"]);
});

test("another principal's session is as unknown as one that never was [G18]", async () => {
  const { ports } = await stand();
  await using sessions = createSessions(ports);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  for (const id of [sessionId, "ses-nothing"]) {
    await expect(async () => sessions.lease(eve, id, "call").session(signal, progress)).rejects.toThrow(
      `no session \`${id}\``,
    );
    expect(() => sessions.close(eve, id)).toThrow(/no session/);
    await expect(sessions.reset({ principal: eve, sessionId: id, signal, progress })).rejects.toThrow(/no session/);
  }
  expect(sessions.list(eve)).toEqual([]);
  expect(sessions.list(ada)).toHaveLength(1);
});

test("the quota refuses one too many and frees up again", async () => {
  const { ports } = await stand({ limits: { sessions: 2, processes: 8 } });
  await using sessions = createSessions(ports);
  const first = await sessions.open({ principal: ada, signal, progress });
  await sessions.open({ principal: ada, signal, progress });
  await expect(sessions.open({ principal: ada, signal, progress })).rejects.toMatchObject({ code: "SESSION_LIMIT" });
  await sessions.open({ principal: eve, signal, progress });
  await sessions.close(ada, first.sessionId);
  await sessions.open({ principal: ada, signal, progress });
});

test("a failed opening is recorded, leaves nothing, and the next call tries again", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  made.gate = Promise.reject(new GatewayError("BOOT_FAILED", "no kernel"));
  made.gate.catch(() => undefined);
  const lease = () => sessions.lease(ada, undefined, "call").session(signal, progress);
  await expect(lease()).rejects.toMatchObject({ code: "BOOT_FAILED" });
  expect(sessions.list(ada)).toEqual([]);
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toEqual([]);
  made.gate = Promise.resolve();
  await lease();
  expect(events(made.records)).toEqual(["session-refused", "session-opened"]);
});

test("an opening that cannot be recorded is undone [G5]", async () => {
  const made = await stand();
  const refusing: TenancyPorts = {
    ...made.ports,
    audit: { append: () => Promise.reject(new GatewayError("AUDIT_UNWRITABLE")) },
  };
  await using sessions = createSessions(refusing);
  await expect(sessions.open({ principal: ada, signal, progress })).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(made.machines.map((it) => it.disposed)).toEqual([true]);
});

test("a lost machine is given back at once; calls say so until the session is reset", async () => {
  const { ports, machines, records } = await stand();
  await using sessions = createSessions(ports);
  const lease = () => sessions.lease(ada, undefined, "call").session(signal, progress);
  await lease();
  machines[0]?.end.abort(new GatewayError("MACHINE_LOST", "killed"));
  await expect(async () => lease()).rejects.toMatchObject({ code: "MACHINE_LOST" });
  expect(machines[0]?.disposed).toBe(true);
  expect(sessions.status(ada)).toMatchObject({ state: "lost", detail: "killed" });
  await sessions.reset({ principal: ada, signal, progress });
  await lease();
  expect(events(records)).toEqual(["session-opened", "session-lost", "session-closed", "session-opened"]);
});

test("closing while opening aborts the opening", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  made.gate = new Promise(() => undefined);
  const opening = sessions.open({ principal: ada, signal, progress });
  opening.catch(() => undefined);
  const [summary] = sessions.list(ada);
  await sessions.close(ada, summary?.sessionId ?? "");
  await expect(opening).rejects.toMatchObject({ code: "SESSION_CLOSED" });
  expect(sessions.list(ada)).toEqual([]);
});

test("an idle session rests, and the next call lets it go on", async () => {
  const { ports, machines } = await stand();
  await using sessions = createSessions(ports);
  {
    await using lease = sessions.lease(ada, undefined, "call");
    await lease.session(signal, progress);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(machines[0]?.paused).toBe(false);
  }
  await vi.advanceTimersByTimeAsync(20_000);
  expect(machines[0]?.paused).toBe(false);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(machines[0]?.paused).toBe(true);
  await using lease = sessions.lease(ada, undefined, "call");
  await lease.session(signal, progress);
  expect(machines[0]?.paused).toBe(false);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(machines[0]?.paused).toBe(false);
});

test("an idle session is closed, one that is held or lately used is not", async () => {
  const { ports, machines } = await stand({ timeouts: { idleMs: 60_000 } });
  await using sessions = createSessions(ports);
  const held = sessions.lease(ada, undefined, "call");
  await held.session(signal, progress);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(sessions.list(ada)).toHaveLength(1);
  await held[Symbol.asyncDispose]();
  await vi.advanceTimersByTimeAsync(50_000);
  expect(sessions.list(ada)).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(30_000);
  await vi.waitFor(() => expect(sessions.list(ada)).toEqual([]));
  expect(machines[0]?.disposed).toBe(true);
});
