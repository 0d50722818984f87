import type { AuditWriter, EventBody, Json } from "../audit/record.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { newId } from "../lib/id.ts";
import type { Logger } from "../log.ts";
import type { Profile } from "../policy/profile.ts";
import type { Principal } from "../policy/request.ts";
import { Processes } from "./processes.ts";
import { openSandbox, type Sandbox, type SandboxPorts } from "./sandbox.ts";
import type { Lease, Session, SessionState, SessionSummary, SessionTable } from "./session.ts";
import { canMove } from "./state.ts";

export interface SessionsPorts extends SandboxPorts {
  readonly profile: Profile;
  readonly audit: AuditWriter;
  readonly log: Logger;
}

/** How long one call waits for a sandbox: clients give up at 60 s, and the answer must still reach them. */
const PATIENCE_MS = 45_000;
/** How often idle sessions are looked for. */
const EXPIRY_CHECK_MS = 10_000;
const CLOSE_DEADLINE_MS = 4_000;

interface Open {
  readonly sandbox: Sandbox;
  readonly session: Session;
}

interface Entry {
  readonly id: string;
  readonly principalId: string;
  readonly name: string | undefined;
  state: SessionState;
  openedAt: number;
  lastUsedAt: number;
  leases: number;
  detail: string;
  /** Aborts the opening and marks the end of this incarnation. */
  ending: AbortController;
  /** Never left unhandled; rejects with what the opening failed with. */
  opening: Promise<Open>;
  open: Open | undefined;
}

/** Opens, finds, expires and closes sessions; the owner of every sandbox. */
export function createSessions(ports: SessionsPorts): SessionTable & AsyncDisposable {
  const entries = new Map<string, Entry>();
  const defaults = new Map<string, string>();
  let disposed = false;

  const expiry = setInterval(() => {
    for (const entry of entries.values()) if (isIdle(entry)) void closeQuietly(entry, "idle");
  }, EXPIRY_CHECK_MS);
  expiry.unref();

  function isIdle(entry: Entry): boolean {
    const busy = entry.leases > 0 || (entry.open?.session.processes.running ?? 0) > 0;
    return !busy && entry.state !== "closing" && Date.now() - entry.lastUsedAt > ports.profile.timeouts.idleMs;
  }

  function move(entry: Entry, to: SessionState): void {
    if (!canMove(entry.state, to)) throw new GatewayError("INTERNAL", `session cannot go from ${entry.state} to ${to}`);
    entry.state = to;
  }

  function find(principal: Principal, sessionId: string): Entry {
    const entry = entries.get(sessionId);
    if (!entry || entry.principalId !== principal.id) {
      throw new GatewayError("SESSION_NOT_FOUND", `there is no session \`${sessionId.slice(0, 100)}\``);
    }
    return entry;
  }

  function idOf(principal: Principal, sessionId: string | undefined): string {
    if (sessionId !== undefined) return sessionId;
    const known = defaults.get(principal.id) ?? newId("ses");
    defaults.set(principal.id, known);
    return known;
  }

  function event(name: EventBody["event"], entry: Entry, facts: Json, callId?: string): Promise<void> {
    const about = { kind: "event" as const, event: name, sessionId: entry.id, facts };
    return ports.audit.append(callId === undefined ? about : { ...about, callId });
  }

  /** Starts opening; the entry carries the promise. A quota counts what is opening, open or closing. */
  function begin(principal: Principal, id: string, name: string | undefined): Entry {
    if (disposed) throw new GatewayError("SHUTTING_DOWN");
    const mine = [...entries.values()].filter((it) => it.principalId === principal.id);
    if (mine.length >= ports.profile.limits.sessions) {
      const limit = ports.profile.limits.sessions;
      throw new GatewayError("SESSION_LIMIT", `${limit} sessions are open, as many as the profile permits`);
    }
    const now = Date.now();
    const times = { openedAt: now, lastUsedAt: now, leases: 0 };
    const identity = { id, principalId: principal.id, name };
    const ending = new AbortController();
    const entry: Entry = {
      ...identity,
      ...times,
      state: "opening",
      detail: "",
      ending,
      open: undefined,
      opening: never,
    };
    entries.set(id, entry);
    launch(entry);
    return entry;
  }

  function launch(entry: Entry): void {
    entry.ending = new AbortController();
    entry.open = undefined;
    entry.detail = "starting";
    entry.opening = prepare(entry);
    entry.opening.catch((error: unknown) => ports.log.warn({ sessionId: entry.id, err: error }, "session not opened"));
  }

  async function prepare(entry: Entry): Promise<Open> {
    const { signal } = entry.ending;
    const progress = (message: string) => {
      entry.detail = message;
      ports.log.debug({ sessionId: entry.id }, message);
    };
    try {
      await using stack = new AsyncDisposableStack();
      const sandbox = stack.use(await openSandbox(entry.id, ports.profile, ports, { signal, progress }));
      const processes = stack.use(
        new Processes({
          container: sandbox.container,
          profile: ports.profile,
          onEnded: (facts) => {
            event("process-ended", entry, facts).catch((error: unknown) =>
              ports.log.error({ sessionId: entry.id, err: error }, "end of a process not recorded"),
            );
          },
        }),
      );
      await event("session-opened", entry, factsOf(entry, sandbox));
      signal.throwIfAborted();
      const owned = stack.move();
      const open: Open = {
        session: { id: entry.id, container: sandbox.container, processes },
        sandbox: { ...sandbox, [Symbol.asyncDispose]: () => owned.disposeAsync() },
      };
      entry.open = open;
      entry.detail = "";
      move(entry, "ready");
      onLost(entry, open);
      return open;
    } catch (error) {
      // A failed opening leaves no entry: the next call tries again.
      if (entry.state === "opening") entries.delete(entry.id);
      const failure = signal.aborted ? asGatewayError(signal.reason) : asGatewayError(error);
      await event("session-refused", entry, { code: failure.code, message: failure.message });
      throw failure;
    }
  }

  function onLost(entry: Entry, open: Open): void {
    const { lost } = open.sandbox;
    const incarnation = entry.ending;
    const lose = () => {
      if (entry.state !== "ready" || entry.ending !== incarnation) return;
      const reason = asGatewayError(lost.reason);
      move(entry, "lost");
      entry.detail = reason.message;
      ports.log.warn({ sessionId: entry.id, err: reason }, "sandbox lost");
      const told = event("session-lost", entry, { code: reason.code, message: reason.message });
      Promise.all([told, open.sandbox[Symbol.asyncDispose]()]).catch((error: unknown) =>
        ports.log.error({ sessionId: entry.id, err: error }, "a lost sandbox was not cleaned up"),
      );
    };
    if (lost.aborted) lose();
    else lost.addEventListener("abort", lose, { once: true });
  }

  /** Ends the sandbox, whatever its state. Rejects when something of it may be left. */
  async function end(entry: Entry, why: string): Promise<void> {
    entry.detail = why;
    entry.ending.abort(new GatewayError("SESSION_CLOSED", `the session was closed (${why})`));
    const open = await entry.opening.catch(() => undefined);
    if (open) await abortable(open.sandbox[Symbol.asyncDispose]() as Promise<void>, deadline(CLOSE_DEADLINE_MS));
    await event("session-closed", entry, { why });
  }

  async function close(entry: Entry, why: string): Promise<void> {
    if (entry.state === "closing") return;
    move(entry, "closing");
    try {
      await end(entry, why);
    } finally {
      move(entry, "closed");
      entries.delete(entry.id);
    }
  }

  function closeQuietly(entry: Entry, why: string): Promise<void> {
    return close(entry, why).catch((error: unknown) =>
      ports.log.error({ sessionId: entry.id, err: error }, "session did not close cleanly"),
    );
  }

  async function ready(entry: Entry, signal: AbortSignal, progress: (message: string) => void): Promise<Open> {
    if (entry.state === "lost") throw new GatewayError("MACHINE_LOST", `the sandbox is gone: ${entry.detail}`);
    if (entry.state === "closing") throw new GatewayError("SESSION_CLOSED");
    if (entry.open) return entry.open;
    const ticker = setInterval(() => progress(`preparing the sandbox: ${entry.detail}`), 1_000);
    const patience = AbortSignal.timeout(PATIENCE_MS);
    try {
      return await abortable(entry.opening, AbortSignal.any([signal, patience]));
    } catch (error) {
      if (!patience.aborted || signal.aborted) throw error;
      throw new GatewayError("STILL_PREPARING", `the sandbox is still being prepared (${entry.detail})`);
    } finally {
      clearInterval(ticker);
    }
  }

  function lease(principal: Principal, sessionId: string | undefined): Lease {
    let held: Entry | undefined;
    return {
      session: async (signal, progress) => {
        const id = idOf(principal, sessionId);
        if (!held) {
          held = entries.has(id) || sessionId !== undefined ? find(principal, id) : begin(principal, id, undefined);
          held.leases += 1;
        }
        held.lastUsedAt = Date.now();
        return (await ready(held, signal, progress)).session;
      },
      [Symbol.asyncDispose]: async () => {
        if (!held) return;
        held.leases -= 1;
        held.lastUsedAt = Date.now();
      },
    };
  }

  function summary(entry: Entry): SessionSummary {
    const { open } = entry;
    return {
      sessionId: entry.id,
      ...(entry.name === undefined ? {} : { name: entry.name }),
      state: entry.state,
      openedAt: new Date(entry.openedAt).toISOString(),
      expiresAt: new Date(entry.lastUsedAt + ports.profile.timeouts.idleMs).toISOString(),
      runningProcesses: open?.session.processes.running ?? 0,
      ...(open ? { isolation: { machine: open.sandbox.facts, attestation: open.sandbox.attestation } } : {}),
      ...(entry.detail === "" ? {} : { detail: entry.detail }),
    };
  }

  return {
    profile: ports.profile,
    idOf,
    lease,
    open: async ({ principal, name, signal, progress }) => {
      const entry = begin(principal, newId("ses"), name);
      await ready(entry, signal, progress);
      return summary(entry);
    },
    close: (principal, sessionId) => close(find(principal, sessionId), "asked for"),
    reset: async ({ principal, sessionId, signal, progress }) => {
      const id = idOf(principal, sessionId);
      const old = entries.get(id) ? find(principal, id) : undefined;
      if (!old && sessionId !== undefined) find(principal, sessionId);
      if (old) await close(old, "reset");
      const entry = begin(principal, id, old?.name);
      await ready(entry, signal, progress);
      return summary(entry);
    },
    list: (principal) => [...entries.values()].filter((it) => it.principalId === principal.id).map(summary),
    status: (principal, sessionId) => {
      const id = idOf(principal, sessionId);
      if (sessionId === undefined && !entries.has(id)) return undefined;
      return summary(find(principal, id));
    },
    [Symbol.asyncDispose]: async () => {
      disposed = true;
      clearInterval(expiry);
      await Promise.all([...entries.values()].map((it) => closeQuietly(it, "shutdown")));
    },
  };
}

/** Stands in until `launch` sets the real one. */
const never = new Promise<Open>(() => undefined);

function factsOf(entry: Entry, sandbox: Sandbox): Json {
  const { machineId, facts, attestation } = sandbox;
  return JSON.parse(JSON.stringify({ name: entry.name, machineId, machine: facts, attestation }));
}
