import { hash } from "node:crypto";
import { createTraceState, type SpanContext, TraceFlags } from "@opentelemetry/api";
import { parentOf, readTraceContext, type TraceContext } from "../../lib/trace-context.ts";
import { settles } from "../calls.ts";
import type { Entry } from "../read.ts";
import type { AuditRecord, EventBody, IntentBody, OutcomeBody } from "../record.ts";

/**
 * Calls that are remembered, running or ended lately: twice as many as may run at once. Of one that was forgotten, or began before
 * the process did, the outcome's record has to do.
 */
const MAX_CALLS = 8_192;

/** A record of the log with this body. */
export type RecordOf<Body> = AuditRecord & { readonly body: Body };

/** A call that will say no more, and with which record. */
export interface EndedCall {
  readonly callId: string;
  /** Absent when it began before anything that is remembered. */
  readonly intent?: RecordOf<IntentBody>;
  /** The intent itself when it was refused at once. */
  readonly end: RecordOf<IntentBody | OutcomeBody | EventBody>;
  readonly context: SpanContext;
  readonly parent?: SpanContext;
}

/** What a batch says of calls. */
export interface ToldOfCalls {
  /** The span of the call that each record belongs to; absent where it is of none, or of several. */
  readonly contexts: readonly (SpanContext | undefined)[];
  readonly ended: readonly EndedCall[];
  /** Remembers it, when the batch was delivered: until then it is told again. */
  keep(): void;
}

/** What the log has said of calls so far: a span is made of two of its records. */
export class Calls {
  readonly #intents = new Map<string, RecordOf<IntentBody>>();

  read(entries: readonly Entry[]): ToldOfCalls {
    const fresh = new Map<string, RecordOf<IntentBody>>();
    const ended: EndedCall[] = [];
    const contexts = entries.map(({ record }) => {
      if (hasBody(record, "intent")) fresh.set(record.body.callId, record);
      const callId = callOf(record);
      if (callId === undefined) return undefined;
      const intent = fresh.get(callId) ?? this.#intents.get(callId);
      const { body } = record;
      const trace = ("trace" in body ? body.trace : undefined) ?? intent?.body.trace;
      const { context, parent } = contextOf(callId, trace);
      if (isLast(record, intent)) {
        ended.push({ callId, end: record, context, ...(intent && { intent }), ...(parent && { parent }) });
      }
      return context;
    });
    return { contexts, ended, keep: () => this.#keep(fresh) };
  }

  #keep(fresh: ReadonlyMap<string, RecordOf<IntentBody>>): void {
    for (const [callId, { body, ...envelope }] of fresh) {
      // What fills memory is of no use for a span.
      this.#intents.set(callId, { ...envelope, body: { ...body, arguments: null, request: null } });
    }
    for (const callId of this.#intents.keys()) {
      if (this.#intents.size <= MAX_CALLS) break;
      this.#intents.delete(callId);
    }
  }
}

/**
 * A call's span. Its ids follow from the call's, so that what is sent twice is the same span; the trace is the caller's, where the
 * caller has named one.
 */
function contextOf(callId: string, trace: TraceContext | undefined) {
  // Redaction may have changed it since it was read for the first time.
  const read = readTraceContext(trace);
  const parent = read && parentOf(read.traceparent);
  const traceState = read?.tracestate === undefined ? undefined : createTraceState(read.tracestate);
  const shared = { traceFlags: TraceFlags.SAMPLED, ...(traceState && { traceState }) };
  const traceId = parent?.traceId ?? derived("trace", callId).slice(0, 32);
  const context: SpanContext = { traceId, spanId: derived("span", callId).slice(0, 16), ...shared };
  const caller: SpanContext | undefined = parent && { ...parent, ...shared, isRemote: true };
  return { context, parent: caller };
}

function derived(what: "trace" | "span", callId: string): string {
  return hash("sha256", `glovebox ${what} ${callId}`);
}

/** The one call that a record belongs to. */
function callOf({ body }: AuditRecord): string | undefined {
  if (body.callId !== undefined) return body.callId;
  const calls = body.kind === "event" ? callsOf(body.facts) : [];
  return calls.length === 1 ? calls[0] : undefined;
}

/** The calls that an event names: those on whose behalf a connection was opened, or a package fetched. */
export function callsOf(facts: unknown): readonly string[] {
  if (typeof facts !== "object" || facts === null || !("calls" in facts) || !Array.isArray(facts.calls)) return [];
  return facts.calls.filter((it) => typeof it === "string");
}

/** Whether the call ends with this record: with its outcome, or refused, by policy or by a person. */
function isLast(record: AuditRecord, intent: RecordOf<IntentBody> | undefined): boolean {
  const { body } = record;
  if (body.kind === "outcome") return true;
  if (body.kind === "intent") return body.decision === "deny" || body.decision === "invalid";
  if (body.event !== "approval-refused" || intent?.body.decision !== "ask" || body.callId === undefined) return false;
  return settles(body);
}

function hasBody<Kind extends "intent" | "outcome" | "event">(
  record: AuditRecord,
  kind: Kind,
): record is RecordOf<Extract<AuditRecord["body"], { kind: Kind }>> {
  return record.body.kind === kind;
}
