import { carriedCalls, opened } from "../audit/calls.ts";
import type { AuditRecord, IntentBody } from "../audit/record.ts";
import { eventOf } from "./facts.ts";

/** Calls that did not run are remembered so far back, so that one which ran after all can be told from one that nobody asked for. */
const MAX_REFUSED = 10_000;
const MAX_TOOL_CHARS = 100;

/** A call that ended: whether its intent, or a person, had let it run by then. */
export interface Ended {
  readonly callId: string;
  readonly tool: string;
  readonly status: string;
  /** What let it run; `removed` when that was in records that were removed; absent when nothing did. */
  readonly by?: "policy" | "person" | "removed";
  /** Of one that nothing let run: what its intent says, if it has one. */
  readonly decision?: IntentBody["decision"];
}

export interface Calls {
  /** Calls that run and have no outcome so far, by id. */
  readonly open: ReadonlyMap<string, unknown>;
  /** What was decided of a call that may not run, or not yet. */
  refused(callId: string): IntentBody["decision"] | undefined;
  /** Goes past one record of the chain. */
  see(record: AuditRecord): Ended | undefined;
}

/** Follows the calls of one chain from its first record on, which says what was open where others were removed before it. Memory is bounded: no more than 4,096 calls are open at once. */
export function followCalls(): Calls {
  const open = new Map<string, { readonly tool: string; readonly by: NonNullable<Ended["by"]> }>();
  const refused = new Map<string, Pick<IntentBody, "tool" | "decision">>();
  let isFirst = true;
  const end = (callId: string, status: string): Ended => {
    const call = open.get(callId);
    open.delete(callId);
    if (call) return { callId, status, ...call };
    const before = refused.get(callId);
    return { callId, status, tool: before?.tool ?? "", ...(before && { decision: before.decision }) };
  };
  return {
    open,
    refused: (callId) => refused.get(callId)?.decision,
    see: (record) => {
      const { body, seq } = record;
      const carried = isFirst && seq > 0 ? eventOf(record, "segment-started") : undefined;
      for (const callId of carriedCalls(carried?.facts)) open.set(callId, { tool: "", by: "removed" });
      isFirst = false;
      if (body.kind === "outcome") return end(body.callId, body.status);
      const callId = opened(body);
      if (callId !== undefined) {
        const person = body.kind === "event";
        const tool = body.kind === "intent" ? body.tool.slice(0, MAX_TOOL_CHARS) : (refused.get(callId)?.tool ?? "");
        refused.delete(callId);
        open.set(callId, { tool, by: person ? "person" : "policy" });
      } else if (body.kind === "intent") {
        refused.set(body.callId, { tool: body.tool.slice(0, MAX_TOOL_CHARS), decision: body.decision });
        const [oldest] = refused.keys();
        if (refused.size > MAX_REFUSED && oldest !== undefined) refused.delete(oldest);
      }
      return undefined;
    },
  };
}
