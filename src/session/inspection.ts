import { asJson } from "../audit/as-json.ts";
import type { EventBody, Json } from "../audit/record.ts";
import type { ContainerSpec } from "../container/container.ts";
import type { Machine } from "../engine/engine.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import type { Logger } from "../log.ts";
import type { Processes } from "./processes.ts";
import type { Rest } from "./rest.ts";
import type { Sandbox } from "./sandbox.ts";
import type { SessionState } from "./session.ts";

/** A sandbox as it is now, seen from outside of its container. */
export interface Inspection {
  /** For the audit log. */
  readonly facts: { readonly [name: string]: Json };
  /** In which ways it is confined less than it was made, in words. */
  readonly weaker: readonly string[];
}

/** What is looked at: the container by its id, and what it was made from. */
export interface ToInspect {
  readonly container: string;
  readonly machine: Machine;
  readonly spec: ContainerSpec;
}

/** `unseen`: it could not be looked at. `hibernated` and what is not ready are not looked at. */
export type InspectionState = "inspected" | "hibernated" | "unseen" | Exclude<SessionState, "ready">;

/** What came of looking at one session. */
export interface InspectedSession {
  readonly sessionId: string;
  readonly state: InspectionState;
  readonly weaker: readonly string[];
  /** Why it could not be looked at. */
  readonly problem?: string;
}

export interface Inspected {
  readonly sessionId: string;
  readonly state: SessionState;
  /** Of one that is ready. */
  readonly open: { readonly sandbox: Sandbox; readonly rest: Rest; readonly processes: Processes } | undefined;
  readonly record: (event: EventBody["event"], facts: Json) => Promise<void>;
  readonly log: Logger;
}

/** An emulated machine on a busy computer takes seconds. */
const INSPECT_MS = 45_000;
const TOO_LONG = "it took too long";
/** The whole of it is on record beside. */
const MAX_WHY_CHARS = 1_000;

/**
 * Looks at a session, records what was seen, and ends the sandbox when that is less than was demanded, or can't be read: like one that was
 * lost. No call waits for it, it counts as no use of the session, and one that sleeps on disk is not woken.
 * @throws GatewayError AUDIT_UNWRITABLE; the signal's reason when aborted
 */
export async function inspectSession(session: Inspected, signal: AbortSignal): Promise<InspectedSession> {
  const { sessionId, state, open, record } = session;
  if (state !== "ready" || !open) {
    const told = state === "ready" ? "opening" : state;
    await record("session-inspected", { state: told });
    return { sessionId, state: told, weaker: [] };
  }
  const until = deadline(INSPECT_MS, signal);
  try {
    const looked = await open.rest.look(() => look(session, open.sandbox, open.processes, until), until);
    if (looked) return looked;
  } catch (error) {
    signal.throwIfAborted();
    const failure = asGatewayError(error);
    if (failure.code === "AUDIT_UNWRITABLE") throw failure;
    const { code, message } = error === until.reason ? new GatewayError("CONTAINER_FAILED", TOO_LONG) : failure;
    session.log.warn({ sessionId, err: error }, "a session could not be inspected");
    // An answer that nobody can trust has ended the sandbox: on record, that is less than it was made, too.
    const weaker = code === "CHANNEL_VIOLATION" ? [message] : [];
    await record("session-inspected", {
      ...{ state: "unseen", code, problem: message },
      ...(weaker.length > 0 && { weaker }),
    });
    return { sessionId, state: "unseen", weaker, problem: message };
  }
  await record("session-inspected", { state: "hibernated" });
  return { sessionId, state: "hibernated", weaker: [] };
}

async function look(
  { sessionId, record, log }: Inspected,
  sandbox: Sandbox,
  processes: Processes,
  signal: AbortSignal,
): Promise<InspectedSession> {
  const { machineId, machine } = sandbox;
  const end = (why: string) => {
    log.error({ sessionId, machineId, why }, "a sandbox is not confined as it was made; it is ended");
    machine.condemn(new GatewayError("ISOLATION_BELOW_FLOOR", `an inspection found: ${why}`));
  };
  let found: Inspection;
  try {
    found = await sandbox.inspect(signal);
  } catch (error) {
    const { code, message } = asGatewayError(error);
    if (code === "CHANNEL_VIOLATION") end(message);
    throw error;
  }
  const { facts, weaker } = found;
  try {
    const running = processes.running;
    await record("session-inspected", asJson({ state: "inspected", machineId, running, ...facts, weaker }));
  } finally {
    if (weaker.length > 0) end(weaker.join("; ").slice(0, MAX_WHY_CHARS));
  }
  return { sessionId, state: "inspected", weaker };
}
