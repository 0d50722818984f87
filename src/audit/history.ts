import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Assumption, PastDecision } from "../policy/past.ts";
import { hasKeyedDigest, readRecorded, UNREPLAYABLE, type Unreplayable } from "../policy/replay.ts";
import type { Principal } from "../policy/request.ts";
import { listChains, listSegments, readLinesIfAny, segmentName } from "./files.ts";
import { readLine } from "./line.ts";
import { type EventProblem, isDecision, pastEvent } from "./past-events.ts";
import type { AuditRecord, EventBody, IntentBody } from "./record.ts";

/** Sessions whose principal is remembered; the one that was heard of longest ago is forgotten first. */
const MAX_SESSIONS = 10_000;

/** Why a record is no decision that can be made again. */
export const PASSED_OVER = {
  ...UNREPLAYABLE,
  "not-asked": "a call whose arguments do not fit: policy was not asked",
  "not-policy": "a connection that something else than policy refused",
  "package-refused": "a package that was refused: the log does not have what policy saw of it",
  "no-principal": "a connection or package of a session of which the log has no call: nobody knows whose it was",
  "not-owner": "a call of somebody else that names the session",
  unrecorded: "refused connections that the log only counts",
} as const;
type PassedOver = keyof typeof PASSED_OVER;

/** What was read, and what of it is no decision that can be made again. Grows while the decisions are read. */
export interface Reading {
  decisions: number;
  /** Lines that are not as they were written. */
  damaged: number;
  readonly passedOver: Map<PassedOver, number>;
}

export interface HistoryFilter {
  readonly session?: string;
  /** Milliseconds since 1970; inclusive. */
  readonly sinceMs?: number;
  /** The same; exclusive. */
  readonly untilMs?: number;
}

export interface History {
  readonly decisions: AsyncIterable<PastDecision>;
  readonly reading: Reading;
}

/**
 * The decisions that a log has, in its order, chain by chain: an audit directory, one chain's, or one segment. Each line has to have its own
 * hash; whether any is missing is for `verifyLog` to say. Memory is bounded, and a gateway may be writing. What can't be decided again is
 * counted by its reason. Iterating throws the file system's error when something can't be read.
 */
export function historyOf(path: string, filter: HistoryFilter): History {
  const reading: Reading = { decisions: 0, damaged: 0, passedOver: new Map() };
  return { decisions: readHistory(path, filter, reading), reading };
}

async function* readHistory(path: string, filter: HistoryFilter, reading: Reading): AsyncGenerator<PastDecision> {
  const principals = new Principals();
  for await (const record of recordsIn(path, reading)) {
    const { body, time } = record;
    if (body.kind === "outcome") continue;
    // Also of calls that are not asked for: a connection may be of a session that called before.
    if (body.kind === "intent" && body.sessionId !== undefined) principals.set(body.sessionId, body.principal);
    if (!isMeant(record, filter)) continue;
    if (body.kind === "intent" && filter.session !== undefined && !principals.owns(filter.session, body.principal)) {
      count(reading, "not-owner");
      continue;
    }
    const found = body.kind === "intent" ? pastCall(body) : pastOf(body, principals, Date.parse(time), reading);
    if (found === undefined) continue;
    if ("problem" in found) {
      count(reading, found.problem);
      continue;
    }
    reading.decisions += 1;
    const { callId, sessionId } = body;
    const redacted = JSON.stringify(found.request).includes("[redacted:");
    yield {
      time,
      ...(callId !== undefined && { callId }),
      ...(sessionId !== undefined && { sessionId }),
      ...found,
      assumed: redacted ? [...found.assumed, "redacted"] : found.assumed,
    };
  }
}

type Found = Pick<PastDecision, "decided" | "policies" | "bundle" | "request" | "arguments" | "assumed">;

function pastCall(body: IntentBody): Found | { readonly problem: Unreplayable | "not-asked" } {
  const { decision: decided, principal, policies, bundle } = body;
  if (decided === "invalid") return { problem: "not-asked" };
  const request = readRecorded(principal, body.request);
  if ("problem" in request) return request;
  const assumed: readonly Assumption[] = hasKeyedDigest(body.request) ? ["digest"] : [];
  return { decided, request, policies: policies.map((it) => it.id), bundle, arguments: body.arguments, assumed };
}

function pastOf(
  { event, facts, sessionId }: EventBody,
  principals: Principals,
  atMs: number,
  reading: Reading,
): Found | { readonly problem: EventProblem | "no-principal" } | undefined {
  if (!isDecision(event)) return undefined;
  const more = unrecordedBefore(facts);
  if (more > 0) count(reading, "unrecorded", more);
  // It only counts those before.
  if (more > 0 && typeof facts === "object" && facts !== null && !("host" in facts || "name" in facts))
    return undefined;
  const principal = sessionId === undefined ? undefined : principals.get(sessionId);
  return principal ? pastEvent(event, facts, { principal, atMs }) : { problem: "no-principal" };
}

function unrecordedBefore(facts: unknown): number {
  if (typeof facts !== "object" || facts === null || !("unrecordedBefore" in facts)) return 0;
  return Number.isSafeInteger(facts.unrecordedBefore) ? Number(facts.unrecordedBefore) : 0;
}

function isMeant({ time, body }: AuditRecord, { session, sinceMs, untilMs }: HistoryFilter): boolean {
  if (session !== undefined && body.sessionId !== session) return false;
  const atMs = Date.parse(time);
  return (sinceMs === undefined || atMs >= sinceMs) && (untilMs === undefined || atMs < untilMs);
}

function count({ passedOver }: Reading, why: PassedOver, more = 1): void {
  passedOver.set(why, (passedOver.get(why) ?? 0) + more);
}

async function* recordsIn(path: string, reading: Reading): AsyncGenerator<AuditRecord> {
  for (const file of await filesIn(path)) {
    for await (const lines of readLinesIfAny(file)) {
      for (const { bytes, terminated } of lines) {
        const read = readLine(bytes);
        if (read.sound) yield read.record;
        // The end of a file that a gateway is writing.
        else if (terminated) reading.damaged += 1;
      }
    }
  }
}

async function filesIn(path: string): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path];
  const chains = (await listChains(path)).map((it) => join(path, it));
  const directories = chains.length > 0 ? chains : [path];
  const files = directories.map(async (it) => (await listSegments(it)).map((number) => join(it, segmentName(number))));
  return (await Promise.all(files)).flat();
}

/**
 * Whose session it is: whoever calls in it first. A session's id is its owner's alone to know at first, and a call that names another's
 * session is on record although it leads nowhere.
 */
class Principals {
  readonly #known = new Map<string, Principal>();

  set(session: string, principal: Principal): void {
    const owner = this.#known.get(session) ?? principal;
    this.#known.delete(session);
    this.#known.set(session, owner);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_SESSIONS && oldest !== undefined) this.#known.delete(oldest);
  }

  owns(session: string, { id }: Principal): boolean {
    return this.#known.get(session)?.id === id;
  }

  get(session: string): Principal | undefined {
    return this.#known.get(session);
  }
}
