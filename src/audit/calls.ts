import { factsIn } from "./facts.ts";
import type { Json, OutcomeBody, RecordBody } from "./record.ts";

/** What is known of a call besides its id, for its outcome. */
export type CallContext = Pick<OutcomeBody, "sessionId" | "machineId" | "trace">;

/** The call that runs from this record on, if there is one: permitted by policy, or by a person. */
export function opened(body: RecordBody): string | undefined {
  if (body.kind === "intent") return body.decision === "permit" ? body.callId : undefined;
  return body.kind === "event" && body.event === "approval-given" ? body.callId : undefined;
}

/** Whether a person's answer decides of what was asked: one that does not count leaves the question open. */
export function settles({ event, facts }: { readonly event: string; readonly facts: Json }): boolean {
  return event === "approval-given" || (event === "approval-refused" && factsIn(facts)["why"] !== "invalid");
}

/**
 * Carries the open calls (permitted, without an outcome so far) past one record. A segment's first record repeats their ids, so that the last
 * segment alone tells which calls a dead gateway left open; of those from before it nothing else is known then.
 */
export function trackCalls(open: Map<string, CallContext>, body: RecordBody): void {
  const callId = opened(body);
  if (callId !== undefined) open.set(callId, contextOf(body));
  else if (body.kind === "outcome") open.delete(body.callId);
  else if (body.kind === "event" && body.event === "segment-started") {
    const before = new Map(open);
    open.clear();
    for (const callId of carriedCalls(body.facts)) open.set(callId, before.get(callId) ?? {});
  }
}

/** As the record has it. */
export function contextOf(body: RecordBody): CallContext {
  const { sessionId } = body;
  const machineId = body.kind === "outcome" ? body.machineId : undefined;
  const trace = body.kind === "event" ? undefined : body.trace;
  return {
    ...(sessionId !== undefined && { sessionId }),
    ...(machineId !== undefined && { machineId }),
    ...(trace && { trace }),
  };
}

/**
 * The first record of a segment.
 * @param tree over all records before it, where the chain is signed
 * @param sealedIn the segment that says up to where the chain's beginning was removed, where some was
 */
export function segmentStarted(
  open: ReadonlyMap<string, CallContext>,
  tree: Json | undefined,
  sealedIn: number | undefined,
): RecordBody {
  const facts = {
    openCalls: [...open.keys()],
    ...(tree !== undefined && { tree }),
    ...(sealedIn !== undefined && { sealedIn }),
  };
  return { kind: "event", event: "segment-started", facts };
}

/** The outcome of a call about whose end nothing is known. `durationMs` is 0: nobody measured. */
export function interrupted(callId: string, reason: string, context: CallContext): RecordBody {
  return { kind: "outcome", callId, ...context, status: "interrupted", durationMs: 0, facts: { reason } };
}

/** What a segment's first record says was open; none of facts of another form. */
export function carriedCalls(facts: unknown): string[] {
  if (typeof facts !== "object" || facts === null || !("openCalls" in facts)) return [];
  const { openCalls } = facts;
  return Array.isArray(openCalls) ? openCalls.filter((it) => typeof it === "string") : [];
}
