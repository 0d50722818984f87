/** Where a caller's trace goes on, as W3C Trace Context (level 1) writes it. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** What the standard asks everybody to pass on; a longer one is left out. */
export const MAX_STATE_CHARS = 512;
const MAX_STATE_MEMBERS = 32;

const PARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;
const KEY = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/;
/** Printable ASCII without comma and equals sign; the last character is no space. */
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/**
 * The trace context among the keys of an MCP request's `_meta` (SEP-414). It is the caller's word: what is not exactly as the standard has it
 * (https://www.w3.org/TR/trace-context-1/) counts as if it were not there; a state that can't be used leaves the parent as it is.
 */
export function readTraceContext(meta: unknown): TraceContext | undefined {
  if (typeof meta !== "object" || meta === null) return undefined;
  const { traceparent, tracestate } = meta as Record<string, unknown>;
  if (typeof traceparent !== "string" || !parentOf(traceparent)) return undefined;
  return { traceparent, ...(typeof tracestate === "string" && isState(tracestate) && { tracestate }) };
}

/** The ids in a `traceparent`; undefined for what is none, or is of another version than 00. */
export function parentOf(traceparent: string): { readonly traceId: string; readonly spanId: string } | undefined {
  const [, traceId = "", spanId = ""] = PARENT.exec(traceparent) ?? [];
  return /[1-9a-f]/.test(traceId) && /[1-9a-f]/.test(spanId) ? { traceId, spanId } : undefined;
}

function isState(text: string): boolean {
  if (text.length > MAX_STATE_CHARS || !/^[\t\x20-\x7e]*$/.test(text)) return false;
  // There may be nothing between two commas, and spaces and tabs around a member.
  const members = text.split(",").map((it) => it.trim());
  const keys = new Set<string>();
  for (const member of members.filter((it) => it !== "")) {
    const at = member.indexOf("=");
    const key = member.slice(0, Math.max(at, 0));
    if (!KEY.test(key) || !VALUE.test(member.slice(at + 1)) || keys.has(key)) return false;
    keys.add(key);
  }
  return keys.size > 0 && keys.size <= MAX_STATE_MEMBERS;
}
