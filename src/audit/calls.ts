import type { Json, RecordBody } from "./record.ts";

/** The call that runs from this record on, if there is one: permitted by policy, or by a person. */
export function opened(body: RecordBody): string | undefined {
  if (body.kind === "intent") return body.decision === "permit" ? body.callId : undefined;
  return body.kind === "event" && body.event === "approval-given" ? body.callId : undefined;
}

/**
 * Carries the set of open calls (permitted, without an outcome so far) past one record. A segment's first record repeats
 * the set, so that the last segment alone tells which calls a dead gateway left open.
 */
export function trackCalls(open: Set<string>, body: RecordBody): void {
  const callId = opened(body);
  if (callId !== undefined) open.add(callId);
  else if (body.kind === "outcome") open.delete(body.callId);
  else if (body.kind === "event" && body.event === "segment-started") {
    open.clear();
    for (const callId of carriedCalls(body.facts)) open.add(callId);
  }
}

/**
 * The first record of a segment.
 * @param tree over all records before it, where the chain is signed
 * @param sealedIn the segment that says up to where the chain's beginning was removed, where some was
 */
export function segmentStarted(
  open: ReadonlySet<string>,
  tree: Json | undefined,
  sealedIn: number | undefined,
): RecordBody {
  const facts = {
    openCalls: [...open],
    ...(tree !== undefined && { tree }),
    ...(sealedIn !== undefined && { sealedIn }),
  };
  return { kind: "event", event: "segment-started", facts };
}

/** The outcome of a call about whose end nothing is known. `durationMs` is 0: nobody measured. */
export function interrupted(callId: string, reason: string): RecordBody {
  return { kind: "outcome", callId, status: "interrupted", durationMs: 0, facts: { reason } };
}

function carriedCalls(facts: unknown): string[] {
  if (typeof facts !== "object" || facts === null || !("openCalls" in facts)) return [];
  const { openCalls } = facts;
  return Array.isArray(openCalls) ? openCalls.filter((it) => typeof it === "string") : [];
}
