import { settles } from "./calls.ts";
import type { IntentBody, RecordBody } from "./record.ts";
import { isPlaceholder } from "./redact-text.ts";

/** Calls that are remembered: as many as can be open at once. */
const MAX_CALLS = 4_096;
/** Of a call: values to be looked for in its later records, and how long they are in all. */
const MAX_VALUES = 64;
const MAX_CHARS = 8_192;
/** A shorter one is a part of other words. */
const MIN_CHARS = 4;
const MAX_DEPTH = 64;

/** In place of what policy keeps out of the log. */
export const STRUCK = "[redacted:policy]";

/** What later records of a call need to be rid of. */
export interface CallKept {
  readonly tool: string;
  /** Policy keeps one of its arguments out of the log. */
  readonly isRuled: boolean;
  /**
   * A message without the values that were kept out of the call's arguments. INVARIANT: for messages alone, after all other redaction: an agent chooses the values,
   * and must neither take a command out of the log with them nor break up a secret before it is found.
   */
  without(message: string): string;
}

/** What is known of calls between their first record and their last one, of those that policy's rules are about. */
export function createCallMemory() {
  const calls = new Map<string, CallKept>();
  return {
    of: (callId: string) => calls.get(callId),
    /** Remembers the call while it can have more records. */
    begun: (body: IntentBody, isMeant: (name: string) => boolean): CallKept => {
      const values = new Set<string>();
      const isRuled = collect(body.arguments, isMeant, false, values, 0);
      const call = { tool: body.tool, isRuled, without: withoutValues(values) };
      if (body.decision === "permit" || body.decision === "ask") {
        calls.set(body.callId, call);
        const [oldest] = calls.keys();
        if (calls.size > MAX_CALLS && oldest !== undefined) calls.delete(oldest);
      }
      return call;
    },
    /** Forgets a call with its last record. */
    seen: (body: RecordBody): void => {
      const isLast =
        body.kind === "outcome" || (body.kind === "event" && body.event === "approval-refused" && settles(body));
      if (isLast && body.callId !== undefined) calls.delete(body.callId);
    },
  };
}

/** Collects texts below the members that are meant; answers whether there are such members. */
function collect(
  value: unknown,
  isMeant: (name: string) => boolean,
  isBelow: boolean,
  into: Set<string>,
  depth: number,
): boolean {
  if (typeof value === "string" || typeof value === "number") {
    const text = String(value);
    const chars = [...into].reduce((sum, it) => sum + it.length, text.length);
    if (isBelow && into.size < MAX_VALUES && text.length >= MIN_CHARS && chars <= MAX_CHARS) into.add(text);
    return false;
  }
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return false;
  let found = false;
  for (const [name, member] of Object.entries(value)) {
    const isOne = !Array.isArray(value) && isMeant(name);
    // Of variables the log has the names, which any message may use.
    const isValue = isBelow || (isOne && name !== "env");
    found = collect(member, isMeant, isValue, into, depth + 1) || isOne || found;
  }
  return found;
}

function withoutValues(values: ReadonlySet<string>): CallKept["without"] {
  if (values.size === 0) return (message) => message;
  // As they are, and as JSON has them; the longest first, where one is a part of another; none within what was replaced before.
  const written = [...values]
    .flatMap((it) => [it, JSON.stringify(it).slice(1, -1)])
    .sort((a, b) => b.length - a.length)
    .map((it) => RegExp.escape(it));
  const pattern = new RegExp(["\\[redacted:[\\w.-]+\\]", ...written].join("|"), "g");
  const replaced = (found: string) => (isPlaceholder(found) ? found : STRUCK);
  return (message) => message.replace(pattern, replaced);
}
