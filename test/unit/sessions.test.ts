import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { EventBody, RecordBody } from "../../src/audit/record.ts";
import type { Machine, OpenOptions } from "../../src/engine/engine.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { Inspection } from "../../src/session/inspection.ts";
import { openLedger } from "../../src/session/ledger.ts";
import { openSandbox, restoreSandbox, type SandboxPorts } from "../../src/session/sandbox.ts";
import { createSessions, type SessionsPorts } from "../../src/session/sessions.ts";
import { Snapshots } from "../../src/session/snapshots.ts";
import { closedEgress } from "../support/capability-context.ts";
import { eventually } from "../support/eventually.ts";

/** Life and death of sessions, on a stand-in for the machine: the real one is tested in contract/ and e2e/. */
const ada = { id: "local:ada", client: { name: "t", version: "1" }, transport: "stdio" as const };
const eve = { ...ada, id: "local:eve" };
const signal = new AbortController().signal;
const progress = () => undefined;

interface Stand {
  readonly ports: SessionsPorts;
  readonly records: RecordBody[];
  readonly machines: { readonly end: AbortController; disposed: boolean; paused: boolean; readonly from?: string }[];
  readonly stateDirectory: string;
  /** What opening a machine waits for. */
  gate: Promise<void>;
  /** How well machines isolate. */
  level: string;
  /** What looking at one finds. */
  inspect: () => Promise<Inspection>;
}

async function stand(profile: object = {}): Promise<Stand> {
  const stateDirectory = mkdtempSync(join(tmpdir(), "glovebox-sessions-"));
  const ledger = await openLedger(stateDirectory, "gw-test");
  onTestFinished(async () => {
    await ledger[Symbol.asyncDispose]();
    rmSync(stateDirectory, { recursive: true, force: true });
  });
  const parsed = profileSchema.parse(profile);
  const records: RecordBody[] = [];
  const machines: Stand["machines"] = [];
  const sandboxPorts: SandboxPorts = {
    ledger,
    findImage: async () => ({ digest: "", kernel: "", initramfs: "", root: "", data: "", seal: "", agentImage: "" }),
    engine: {
      name: "stand-in",
      open: () => Promise.reject(new Error("sessions are opened prepared")),
      openPrepared: async (_spec, _preparation, options) => {
        return { machine: await machineOf(options), prepared: "container" };
      },
      openSaved: async (_spec, directory, options) => {
        if (!existsSync(join(directory, "saved"))) throw new GatewayError("SNAPSHOT_UNUSABLE");
        return await machineOf(options, directory);
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
    domain: "tests",
    containerShape: async () => JSON.stringify(profile),
    startContainer: async () => "container",
    adoptContainer: () => ({ [Symbol.asyncDispose]: async () => undefined }) as never,
    attest: async () => ({}) as never,
    inspect: async () => await made.inspect(),
  };
  const machineOf = async (options: OpenOptions, from?: string): Promise<Machine> => {
    const aborted = new Promise<never>((_, reject) => {
      options.signal.addEventListener("abort", () => reject(options.signal.reason));
    });
    await Promise.race([made.gate, aborted]);
    const machine = { end: new AbortController(), disposed: false, paused: false, ...(from ? { from } : {}) };
    machines.push(machine);
    const opened = {
      lost: machine.end.signal,
      condemn: (reason: GatewayError) => machine.end.abort(reason),
      trust: async () => undefined,
      facts: { level: made.level },
      pause: async () => {
        machine.paused = true;
      },
      resume: async () => {
        machine.paused = false;
      },
      save: async (directory: string) => writeFileSync(join(directory, "saved"), "as it was"),
      [Symbol.asyncDispose]: async () => {
        machine.disposed = true;
      },
    };
    return opened as unknown as Machine;
  };
  const made: Stand = {
    records,
    machines,
    stateDirectory,
    gate: Promise.resolve(),
    level: "microvm",
    inspect: async () => ({ facts: { seen: true }, weaker: [] }),
    ports: {
      kit: () => ({
        profile: parsed,
        openSandbox: (options) => openSandbox(parsed, sandboxPorts, options),
        restoreSandbox: (saved, options) => restoreSandbox(parsed, sandboxPorts, saved, options),
        openEgress: closedEgress,
      }),
      enter: () => new DisposableStack(),
      approved: () => [],
      audit: { append: async (body) => void records.push(body) },
      log: createLog("silent"),
      snapshots: new Snapshots(join(stateDirectory, "snapshots"), ledger, () => parsed.snapshots),
    },
  };
  return made;
}

const events = (records: readonly RecordBody[]) =>
  records.filter((it): it is EventBody => it.kind === "event").map((it) => it.event);

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance", "Date"] }));
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
  expect(records[0]).toMatchObject({ facts: { principal: ada, machineId: leases[0]?.machineId } });
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
  const refusing: SessionsPorts = {
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

test("a session goes back to its snapshot under its own id, and keeps what it has when that fails", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { snapshots } = sessions;
  const id = sessions.idOf(ada, undefined);
  await sessions.lease(ada, undefined, "call").session(signal, progress);
  const taken = await snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  expect(taken).toMatchObject({ name: "a", sessionId: id });
  expect(await snapshots.list(ada)).toEqual([taken]);
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(1);

  const restored = await snapshots.restore({ principal: ada, snapshot: "a", signal, progress });
  expect(restored).toMatchObject({ sessionId: id, state: "ready" });
  expect(made.machines.map((it) => it.disposed)).toEqual([true, false]);
  expect(events(made.records)).toEqual(["session-opened", "session-opened", "session-closed"]);

  made.gate = Promise.reject(new GatewayError("BOOT_FAILED"));
  made.gate.catch(() => undefined);
  const failing = snapshots.restore({ principal: ada, snapshot: "a", signal, progress });
  await expect(failing).rejects.toMatchObject({ code: "BOOT_FAILED" });
  expect(sessions.status(ada)).toMatchObject({ sessionId: id, state: "ready" });
  expect(made.machines[1]?.disposed).toBe(false);
});

test("what was being opened, or restored, when a narrower policy came into force is not used", async () => {
  const made = await stand({ isolation: { floor: "userspace-kernel" } });
  const { kit } = made.ports;
  const lax = { ...kit().profile, writableRoot: true };
  let profile = kit().profile;
  await using sessions = createSessions({ ...made.ports, kit: () => ({ ...kit(), profile }) });
  const { snapshots } = sessions;
  await sessions.lease(ada, undefined, "call").session(signal, progress);
  await snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  const until = Promise.withResolvers<void>();
  made.gate = until.promise;
  profile = lax;
  const restoring = expect(
    snapshots.restore({ principal: ada, snapshot: "a", signal, progress }),
  ).rejects.toMatchObject({ code: "SESSION_CLOSED", message: expect.stringContaining("no writable root by now") });
  await new Promise((resolve) => setTimeout(resolve, 50));
  profile = kit().profile;
  sessions.review();
  until.resolve();
  await restoring;
  expect(sessions.status(ada)).toMatchObject({ state: "ready" });
  expect(made.machines.map((it) => it.disposed)).toEqual([false, true]);

  made.level = "userspace-kernel";
  const later = Promise.withResolvers<void>();
  made.gate = later.promise;
  const opening = expect(sessions.open({ principal: ada, signal, progress })).rejects.toMatchObject({
    code: "SESSION_CLOSED",
    message: expect.stringContaining("policy demands `microvm` by now"),
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  profile = { ...kit().profile, isolation: { floor: "microvm" } };
  sessions.review();
  later.resolve();
  await opening;
  expect(made.machines.at(-1)?.disposed).toBe(true);
});

test("a lost session, and one that was never opened, begin anew from a snapshot", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { snapshots } = sessions;
  await snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  made.machines[0]?.end.abort(new GatewayError("MACHINE_LOST"));
  await snapshots.restore({ principal: ada, snapshot: "a", signal, progress });
  expect(sessions.status(ada)).toMatchObject({ state: "ready" });
  await using later = createSessions(made.ports);
  expect(later.status(ada)).toBeUndefined();
  await later.snapshots.restore({ principal: ada, snapshot: "a", signal, progress });
  expect(later.status(ada)).toMatchObject({ state: "ready" });
  expect(made.machines.map((it) => it.from !== undefined)).toEqual([false, true, true]);
});

test("a restoring that is cancelled leaves the session as it is, and nothing of its own", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  await sessions.snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  made.gate = new Promise(() => undefined);
  const caller = new AbortController();
  const restoring = sessions.snapshots.restore({ principal: ada, snapshot: "a", signal: caller.signal, progress });
  restoring.catch(() => undefined);
  await eventually(() =>
    expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(2),
  );
  caller.abort(new GatewayError("CANCELLED"));
  await expect(restoring).rejects.toMatchObject({ code: "CANCELLED" });
  await eventually(() =>
    expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(1),
  );
  expect(sessions.status(ada)).toMatchObject({ state: "ready" });
});

test("two resets at once are one fresh sandbox, and no machine is left out of the table", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  const reset = () => sessions.reset({ principal: ada, sessionId, signal, progress });
  const both = await Promise.all([reset(), reset()]);
  expect(both.map((it) => [it.sessionId, it.state])).toEqual([
    [sessionId, "ready"],
    [sessionId, "ready"],
  ]);
  expect(made.machines.filter((it) => !it.disposed)).toHaveLength(1);
  await sessions.close(ada, sessionId);
  expect(made.machines.filter((it) => !it.disposed)).toEqual([]);
});

test("a second restoring of a session waits for the first to end, and a reset in between wins", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  const options = { principal: ada, sessionId, snapshot: "a", signal, progress };
  await sessions.snapshots.take(options);
  const gate = Promise.withResolvers<void>();
  made.gate = gate.promise;
  const first = sessions.snapshots.restore(options);
  first.catch(() => undefined);
  await eventually(() =>
    expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(2),
  );
  await expect(sessions.snapshots.restore(options)).rejects.toMatchObject({ code: "STILL_PREPARING" });
  const reset = sessions.reset({ principal: ada, sessionId, signal, progress });
  gate.resolve();
  await expect(first).rejects.toMatchObject({ code: "SESSION_CLOSED" });
  expect(await reset).toMatchObject({ sessionId, state: "ready" });
  await eventually(() => expect(made.machines.filter((it) => !it.disposed)).toHaveLength(1));
  expect(made.machines.find((it) => !it.disposed)?.from).toBeUndefined();
});

test("a fork is a session of its own, of what is now or of a snapshot, and counts as one", async () => {
  const made = await stand({ limits: { sessions: 3, processes: 8 } });
  await using sessions = createSessions(made.ports);
  const { snapshots } = sessions;
  await snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  const ofNow = await snapshots.fork({ principal: ada, name: "now", signal, progress });
  const ofThen = await snapshots.fork({ principal: ada, snapshot: "a", signal, progress });
  expect(new Set([ofNow.sessionId, ofThen.sessionId, sessions.idOf(ada, undefined)]).size).toBe(3);
  expect(ofNow.name).toBe("now");
  await expect(snapshots.fork({ principal: ada, signal, progress })).rejects.toMatchObject({ code: "SESSION_LIMIT" });
  // Of the two machines' and the draft's directories, the draft's is gone.
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(3);
  expect(made.machines.map((it) => it.from !== undefined)).toEqual([false, true, true]);
});

test("snapshots have limits and names of their own for each principal [G18]", async () => {
  const made = await stand({ snapshots: { count: 2, totalMiB: 16 } });
  await using sessions = createSessions(made.ports);
  const { snapshots } = sessions;
  const take = (principal: typeof ada, snapshot: string) => snapshots.take({ principal, snapshot, signal, progress });
  await take(ada, "a");
  await expect(take(ada, "a")).rejects.toMatchObject({ code: "SNAPSHOT_EXISTS" });
  await take(ada, "b");
  await expect(take(ada, "c")).rejects.toMatchObject({ code: "SNAPSHOT_LIMIT" });
  expect(await snapshots.list(eve)).toEqual([]);
  await expect(snapshots.delete(eve, "a")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
  const restoring = snapshots.restore({ principal: eve, snapshot: "a", signal, progress });
  await expect(restoring).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
  await take(eve, "a");
  await snapshots.delete(ada, "a");
  expect((await snapshots.list(ada)).map((it) => it.name)).toEqual(["b"]);
  expect((await snapshots.list(eve)).map((it) => it.name)).toEqual(["a"]);
  await expect(snapshots.delete(ada, "a")).rejects.toMatchObject({ code: "SNAPSHOT_NOT_FOUND" });
  expect(readdirSync(join(made.stateDirectory, "snapshots")).filter((it) => it !== "lock")).toHaveLength(2);
});

test("a snapshot that would be too large is not kept", async () => {
  const made = await stand({ snapshots: { count: 2, totalMiB: 0 } });
  await using sessions = createSessions(made.ports);
  const taking = sessions.snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  await expect(taking).rejects.toMatchObject({ code: "SNAPSHOT_LIMIT" });
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(1);
  expect(await sessions.snapshots.list(ada)).toEqual([]);
});

test("a snapshot of another profile is refused, and so is one whose files are gone", async () => {
  const made = await stand();
  const other = await stand({ resources: { pids: 99 } });
  await using sessions = createSessions(made.ports);
  await sessions.snapshots.take({ principal: ada, snapshot: "a", signal, progress });
  await using strangers = createSessions({ ...other.ports, snapshots: made.ports.snapshots });
  const options = { principal: ada, snapshot: "a", signal, progress };
  await expect(strangers.snapshots.restore(options)).rejects.toMatchObject({ code: "SNAPSHOT_UNUSABLE" });
  expect(strangers.status(ada)).toBeUndefined();
  const root = join(made.stateDirectory, "snapshots");
  for (const id of readdirSync(root).filter((it) => it !== "lock")) rmSync(join(root, id, "saved"), { force: true });
  await expect(sessions.snapshots.restore(options)).rejects.toMatchObject({ code: "SNAPSHOT_UNUSABLE" });
  expect(sessions.status(ada)).toMatchObject({ state: "ready" });
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

test("a session that nobody calls is written to disk, takes no machine, and goes on in another at the next call", async () => {
  const made = await stand({ timeouts: { hibernateMs: 120_000 } });
  const { machines, records } = made;
  await using sessions = createSessions(made.ports);
  const call = async () => {
    await using lease = sessions.lease(ada, undefined, "call");
    return await lease.session(signal, progress);
  };
  const first = await call();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([machines[0]?.paused, machines[0]?.disposed]).toEqual([true, false]);
  await vi.advanceTimersByTimeAsync(90_000);
  await eventually(() => expect(machines[0]?.disposed).toBe(true));
  await eventually(() => expect(sessions.status(ada)).toMatchObject({ state: "ready", detail: "asleep on disk" }));
  expect(machines).toHaveLength(1);

  const [again, other] = await Promise.all([call(), call()]);
  expect([again.container, again.processes, other]).toEqual([first.container, first.processes, again]);
  expect(machines).toHaveLength(2);
  expect(machines[1]?.from).toBeDefined();
  expect(sessions.status(ada)).not.toHaveProperty("detail");
  expect(events(records)).toEqual(["session-opened", "session-hibernated", "session-woken"]);
  // Of what was written nothing is left; of the machines the new one.
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toHaveLength(1);

  machines[1]?.end.abort(new GatewayError("MACHINE_LOST", "killed"));
  expect(sessions.status(ada)).toMatchObject({ state: "lost" });
});

test("a profile whose sessions hibernate before others are paused is taken at its word", async () => {
  const made = await stand({ timeouts: { hibernateMs: 5_000 } });
  await using sessions = createSessions(made.ports);
  await sessions.open({ principal: ada, signal, progress });
  await vi.advanceTimersByTimeAsync(20_000);
  await eventually(() => expect(events(made.records)).toEqual(["session-opened", "session-hibernated"]));
});

test("a hibernated session that can't be woken stays on disk for another try, and is closed with what was written", async () => {
  const made = await stand({ timeouts: { hibernateMs: 60_000 } });
  await using sessions = createSessions(made.ports);
  const lease = () => sessions.lease(ada, undefined, "call").session(signal, progress);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  await vi.advanceTimersByTimeAsync(90_000);
  await eventually(() => expect(sessions.list(ada)[0]?.detail).toBe("asleep on disk"));
  const wake = () => sessions.lease(ada, sessionId, "call").session(signal, progress);
  made.gate = Promise.reject(new GatewayError("HOST_BUSY"));
  made.gate.catch(() => undefined);
  await expect(wake()).rejects.toMatchObject({ code: "HOST_BUSY" });
  expect(sessions.list(ada)[0]).toMatchObject({ state: "ready", detail: "asleep on disk" });
  made.gate = new Promise(() => undefined);
  const stuck = wake();
  stuck.catch(() => undefined);
  await sessions.close(ada, sessionId);
  await expect(stuck).rejects.toMatchObject({ code: "SESSION_CLOSED" });
  expect(readdirSync(join(made.stateDirectory, "gateways", "gw-test", "machines"))).toEqual([]);
  made.gate = Promise.resolve();
  await lease();
});

test("a session whose waking can't be recorded is not used [G5]", async () => {
  const made = await stand({ timeouts: { hibernateMs: 60_000 } });
  let writable = true;
  const audit = {
    append: async (body: RecordBody) => {
      if (!writable) throw new GatewayError("AUDIT_UNWRITABLE");
      made.records.push(body);
    },
  };
  await using sessions = createSessions({ ...made.ports, audit });
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  await vi.advanceTimersByTimeAsync(90_000);
  await eventually(() => expect(events(made.records)).toContain("session-hibernated"));
  writable = false;
  for (let n = 0; n < 2; n += 1) {
    const lease = sessions.lease(ada, sessionId, "call");
    await expect(lease.session(signal, progress)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  }
  writable = true;
  await sessions.lease(ada, sessionId, "call").session(signal, progress);
  expect(events(made.records)).toEqual(["session-opened", "session-hibernated", "session-woken"]);
});

test("a computer's clock that is put forward or back closes no session and keeps none open", async () => {
  const { ports } = await stand({ timeouts: { idleMs: 60_000 } });
  await using sessions = createSessions(ports);
  await sessions.open({ principal: ada, signal, progress });
  for (const jumpMs of [30 * 86_400_000, -60 * 86_400_000]) {
    vi.setSystemTime(Date.now() + jumpMs);
    await vi.advanceTimersByTimeAsync(20_000);
    const [summary] = sessions.list(ada);
    const leftMs = Date.parse(summary?.expiresAt ?? "") - Date.now();
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  }
  await vi.advanceTimersByTimeAsync(40_000);
  await eventually(() => expect(sessions.list(ada)).toEqual([]));
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
  await eventually(() => expect(sessions.list(ada)).toEqual([]));
  expect(machines[0]?.disposed).toBe(true);
});

const inspections = (records: readonly RecordBody[]) =>
  records.flatMap((it) => (it.kind === "event" && it.event === "session-inspected" ? [it] : []));

test("an inspection is recorded, wakes no session, prolongs none, and has a paused machine go on only as long as it looks", async () => {
  const made = await stand({ timeouts: { hibernateMs: 120_000 } });
  const { machines, records } = made;
  await using sessions = createSessions(made.ports);
  const { sessionId, expiresAt } = await sessions.open({ principal: ada, signal, progress });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(machines[0]?.paused).toBe(true);
  const looked = Promise.withResolvers<void>();
  made.inspect = async () => {
    expect(machines[0]?.paused).toBe(false);
    await looked.promise;
    return { facts: { seen: true }, weaker: [] };
  };
  const inspecting = sessions.inspect(signal);
  await vi.advanceTimersByTimeAsync(30_000);
  // It is not put to rest under whoever looks, and a call does not wait for that.
  expect(machines[0]?.paused).toBe(false);
  looked.resolve();
  expect(await inspecting).toEqual([{ sessionId, state: "inspected", weaker: [] }]);
  expect(inspections(records)).toMatchObject([
    { sessionId, facts: { state: "inspected", seen: true, running: 0, weaker: [] } },
  ]);
  expect(Date.parse(sessions.list(ada)[0]?.expiresAt ?? "")).toBeLessThanOrEqual(Date.parse(expiresAt) + 1);
  await vi.advanceTimersByTimeAsync(90_000);
  await eventually(() => expect(sessions.list(ada)[0]?.detail).toBe("asleep on disk"));
  expect(await sessions.inspect(signal)).toEqual([{ sessionId, state: "hibernated", weaker: [] }]);
  expect(inspections(records).at(-1)?.facts).toEqual({ state: "hibernated" });
  expect(machines).toHaveLength(1);
});

test("a call does not wait for an inspection", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const looked = Promise.withResolvers<Inspection>();
  made.inspect = () => looked.promise;
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  const inspecting = sessions.inspect(signal);
  await using lease = sessions.lease(ada, sessionId, "call");
  expect((await lease.session(signal, progress)).id).toBe(sessionId);
  looked.resolve({ facts: {}, weaker: [] });
  await inspecting;
});

test("a session that is confined less than it was made is on record, and ends as a lost one does", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  made.inspect = async () => ({ facts: {}, weaker: ["it is privileged"] });
  expect(await sessions.inspect(signal)).toEqual([{ sessionId, state: "inspected", weaker: ["it is privileged"] }]);
  await eventually(() => expect(made.machines[0]?.disposed).toBe(true));
  expect(sessions.list(ada)[0]).toMatchObject({ state: "lost", detail: "an inspection found: it is privileged" });
  expect(made.records.slice(1)).toMatchObject([
    { event: "session-inspected", facts: { state: "inspected", weaker: ["it is privileged"] } },
    { event: "session-lost", facts: { code: "ISOLATION_BELOW_FLOOR" } },
  ]);
  const lease = sessions.lease(ada, sessionId, "call");
  await expect(lease.session(signal, progress)).rejects.toMatchObject({ code: "MACHINE_LOST" });
  expect(await sessions.inspect(signal)).toEqual([{ sessionId, state: "lost", weaker: [] }]);
});

test("a session that is confined less ends also when that can't be recorded", async () => {
  const made = await stand();
  let writable = true;
  const append = async (body: RecordBody) => {
    if (!writable) throw new GatewayError("AUDIT_UNWRITABLE");
    made.records.push(body);
  };
  await using sessions = createSessions({ ...made.ports, audit: { append } });
  await sessions.open({ principal: ada, signal, progress });
  made.inspect = async () => ({ facts: {}, weaker: ["it is privileged"] });
  writable = false;
  await expect(sessions.inspect(signal)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await eventually(() => expect(made.machines[0]?.disposed).toBe(true));
  writable = true;
});

test("an engine whose answer can't be read ends its sandbox; one that does not answer is told of", async () => {
  const made = await stand();
  await using sessions = createSessions(made.ports);
  const { sessionId } = await sessions.open({ principal: ada, signal, progress });
  made.inspect = () => Promise.reject(new GatewayError("CONTAINER_FAILED", "the engine did not answer in time"));
  const unseen = { sessionId, state: "unseen", weaker: [], problem: "the engine did not answer in time" };
  expect(await sessions.inspect(signal)).toEqual([unseen]);
  expect(sessions.list(ada)[0]).toMatchObject({ state: "ready" });
  made.inspect = () => Promise.reject(new GatewayError("CHANNEL_VIOLATION", "it is not JSON"));
  expect(await sessions.inspect(signal)).toMatchObject([
    { state: "unseen", problem: "it is not JSON", weaker: ["it is not JSON"] },
  ]);
  expect(sessions.list(ada)[0]).toMatchObject({ state: "lost", detail: "an inspection found: it is not JSON" });
  expect(inspections(made.records).map((it) => it.facts)).toMatchObject([
    { state: "unseen", code: "CONTAINER_FAILED" },
    { state: "unseen", code: "CHANNEL_VIOLATION", weaker: ["it is not JSON"] },
  ]);
});

test("a session whose sandbox is being prepared is told of, and not waited for", async () => {
  const made = await stand();
  const opened = Promise.withResolvers<void>();
  made.gate = opened.promise;
  await using sessions = createSessions(made.ports);
  const opening = sessions.open({ principal: ada, signal, progress });
  expect(await sessions.inspect(signal)).toMatchObject([{ state: "opening" }]);
  opened.resolve();
  await opening;
});
