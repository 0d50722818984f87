import { hash } from "node:crypto";
import { factsIn, numberIn } from "../facts.ts";
import type { AuditRecord, RecordBody } from "../record.ts";
import { hostTerms, packageTerms, type Term } from "./named.ts";
import type { Field } from "./schema.ts";
import { isObject, leaves, textsIn } from "./walk.ts";

/** A longer one is cut, and told apart by its digest. UTF-16 code units. */
const MAX_WORD_CHARS = 512;
/** Calls that an event names besides its own. */
const MAX_CALLS = 64;

/** What the index has of a record: by what it is found, and what is counted. */
export interface Row {
  readonly kind: RecordBody["kind"];
  /** Milliseconds since 1970, as the record says. */
  readonly timeMs: number;
  readonly terms: readonly Term[];
  readonly durationMs?: number;
  /** Refusals before this one that the log only counts: a program that tries for ever fills no disk. */
  readonly onlyCounted?: number;
  readonly bundle?: string;
  readonly gateway: string;
  /** All text of the body, each piece once. */
  readonly text: string;
}

/** The row of a record: of nothing else, so that the index can be made again from the log at any time. */
export function rowOf({ time, gateway, body }: AuditRecord): Row {
  const timeMs = Date.parse(time);
  const onlyCounted = onlyCountedBy(body);
  const terms = [...termsOf(body), ...policyTerms(body), ...hostTerms(body), ...packageTerms(body)];
  return {
    kind: body.kind,
    timeMs: Number.isNaN(timeMs) ? 0 : timeMs,
    terms: distinct(terms.map(([field, text]) => [field, wordOf(text)])),
    ...(body.kind === "outcome" && { durationMs: body.durationMs }),
    ...(onlyCounted > 0 && { onlyCounted }),
    ...(body.kind === "intent" && { bundle: body.bundle.digest }),
    gateway,
    text: textOf(body),
  };
}

/** The text under which a term is kept, and has to be asked for. */
export function wordOf(text: string): string {
  if (text.length <= MAX_WORD_CHARS) return text;
  return `${text.slice(0, MAX_WORD_CHARS - 80).toWellFormed()} sha256:${hash("sha256", text)}`;
}

function termsOf(body: RecordBody): Term[] {
  const session = body.sessionId === undefined ? [] : [["session", body.sessionId] as const];
  switch (body.kind) {
    case "intent": {
      const { callId, principal, tool, decision } = body;
      const who = [["principal", principal.id] as const, ["client", principal.client.name] as const];
      return [["call", callId], ...session, ...who, ["tool", tool], ["decision", decision]];
    }
    case "outcome": {
      const code = body.code === undefined ? [] : [["code", body.code] as const];
      return [["call", body.callId], ...session, ["status", body.status], ...code, ...exitTerms(body.facts)];
    }
    case "event": {
      const { callId, calls: named } = isObject(body.facts) ? body.facts : {};
      // Processes name the call that began them among their facts.
      const calls = [...textsIn([body.callId, callId]), ...textsIn(named).slice(0, MAX_CALLS)];
      return [...calls.map((it) => ["call", it] as const), ...session, ["event", body.event], ...exitTerms(body.facts)];
    }
  }
}

function exitTerms(facts: unknown): Term[] {
  const exitCode = isObject(facts) ? facts["exitCode"] : undefined;
  return Number.isSafeInteger(exitCode) ? [["exitCode", String(exitCode)]] : [];
}

function onlyCountedBy(body: RecordBody): number {
  return body.kind === "event" ? (numberIn(factsIn(body.facts), "unrecordedBefore") ?? 0) : 0;
}

/** Those that determined what was decided: of a call with their layer; events name some as texts, some as calls do. */
function policyTerms(body: RecordBody): Term[] {
  const named = body.kind === "intent" ? body.policies : isObject(body.facts) ? body.facts["policies"] : undefined;
  if (!Array.isArray(named)) return [];
  return named.flatMap((it: unknown): Term[] => {
    if (typeof it === "string")
      return [
        ["policy", it],
        ["layeredPolicy", it],
      ];
    if (!isObject(it) || typeof it["id"] !== "string") return [];
    const { id, layer } = it;
    return [
      ["policy", id],
      ["layeredPolicy", typeof layer === "string" ? `${layer}:${id}` : id],
    ];
  });
}

/** NUL would end the text for SQLite. */
function textOf(body: RecordBody): string {
  return [...new Set(leaves(body))].join("\n").replaceAll("\0", " ");
}

function distinct(terms: readonly (readonly [Field, string])[]): Term[] {
  return [...new Map(terms.map((it) => [it.join("\0"), it])).values()];
}
