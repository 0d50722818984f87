import { join } from "node:path";
import { factsIn, textIn, textsIn } from "./facts.ts";
import { listChains } from "./files.ts";
import { type Entry, readChain } from "./read.ts";
import type { AuditRecord, Json } from "./record.ts";

/** More records of one story, and of what belongs to it, are not told. */
export const MAX_RECORDS = 1_000;
/** Of a connection, process or approval: the calls that it is part of. */
export const MAX_CALLS = 16;

/** What an id can be of, and where records name it besides `callId` and `sessionId`. */
const NAMED_BY = {
  connection: "connectionId",
  approval: "approvalId",
  process: "processId",
  machine: "machineId",
} as const;
/** How events begin, as the log writes them, that may name what a call opened or whom it waited for, and not the call. */
export const LINKING = ['"event":"connection-closed"', '"event":"approval-'];
export type StoryKind = "call" | "session" | "snapshot" | keyof typeof NAMED_BY;

export interface Story {
  readonly kind: StoryKind;
  readonly id: string;
  /** Name of the one that has it. */
  readonly chain: string;
  /** In the log's order; what other chains have of it last. */
  readonly entries: readonly Entry[];
  /** There is more than is told; `wholeStory` has it. */
  readonly isCut: boolean;
  /** Lines that name the id, and are no records any more: what they said is not told. */
  readonly damaged: number;
}

/** The first records that were looked for. */
interface Found {
  readonly entries: readonly Entry[];
  /** There are others behind them. */
  readonly isCut: boolean;
}
const NOTHING: Found = { entries: [], isCut: false };

/**
 * What the log has of a call, in order: its intent and outcome, every event that names it, what became of the connections that it opened and
 * of those whom people were asked about, the start of its gateway, and of its session the making of its sandbox, the event before the call, those
 * during it and the next one after it. Of a session, all its records. Of anything else that has an id, its records and the calls that it is part of.
 * `undefined` when no chain has the id. Reads the log two or three times, in bounded memory.
 */
export async function storyOf(directory: string, id: string): Promise<Story | undefined> {
  for (const chain of await listChains(directory)) {
    const chainDirectory = join(directory, chain);
    let damaged = 0;
    const onDamaged = () => {
      damaged += 1;
    };
    const { entries: own, isCut } = await find(chainDirectory, [id], (record) => isOf(record, id), onDamaged);
    const kind = kindOf(own, id);
    if (kind === undefined) continue;
    const story = { kind, id, chain, damaged };
    if (kind === "session") return { ...story, entries: own, isCut };
    if (kind !== "call") {
      const more = await callsOf(chainDirectory, own);
      return { ...story, entries: inOrder([...own, ...more.entries]), isCut: isCut || more.isCut };
    }
    // However much a call did, how it ended is told.
    const isEnd = ({ body }: AuditRecord) => body.kind === "outcome" && body.callId === id;
    const end = isCut ? await find(chainDirectory, [id], isEnd) : NOTHING;
    const all = inOrder([...own, ...end.entries]);
    const more = await aroundCall(chainDirectory, all);
    const elsewhere = await deletions(directory, own);
    const entries = [...inOrder([...all, ...more.entries]), ...elsewhere];
    return { ...story, entries, isCut: isCut || more.isCut };
  }
  return undefined;
}

/** The first records of a chain that `matters` says so of; their lines have one of the texts, which are few. */
async function find(
  chainDirectory: string,
  texts: readonly string[],
  matters: (record: AuditRecord) => boolean,
  onDamaged?: () => void,
): Promise<Found> {
  // As JSON writes it.
  const written = texts.map((it) => JSON.stringify(it));
  return await firstOf(chainDirectory, written, matters, onDamaged);
}

/** The same of lines that have one of a few pieces of JSON: each line is searched for all of them. */
async function firstOf(
  chainDirectory: string,
  pieces: readonly string[],
  matters: (record: AuditRecord) => boolean,
  onDamaged?: () => void,
): Promise<Found> {
  const entries: Entry[] = [];
  if (pieces.length === 0) return NOTHING;
  for await (const entry of readChain(chainDirectory, hasOneOf(pieces), onDamaged)) {
    if (!matters(entry.record)) continue;
    if (entries.length === MAX_RECORDS) return { entries, isCut: true };
    entries.push(entry);
  }
  return { entries, isCut: false };
}

/** Whether a line has one of the pieces of JSON. */
export function hasOneOf(pieces: readonly string[]): (line: Buffer) => boolean {
  const written = pieces.map((it) => Buffer.from(it));
  return (line) => written.some((it) => line.includes(it));
}

/** Whether a record is of the id by what the gateway wrote. What an agent chose, as arguments are, makes it part of no story. */
export function isOf({ body }: AuditRecord, id: string): boolean {
  if (body.callId === id || body.sessionId === id) return true;
  if (body.kind === "intent") return false;
  return namesOf(body.facts).includes(id) || callsIn(body.facts).includes(id) || snapshotIn({ body }) === id;
}

function kindOf(own: readonly Entry[], id: string): StoryKind | undefined {
  const bodies = own.map(({ record }) => record.body);
  if (bodies.some((it) => it.callId === id)) return "call";
  if (bodies.some((it) => it.sessionId === id)) return "session";
  for (const [kind, name] of Object.entries(NAMED_BY))
    if (bodies.some((it) => it.kind !== "intent" && textIn(factsIn(it.facts), name) === id))
      return kind as keyof typeof NAMED_BY;
  if (own.some(({ record }) => snapshotIn(record) === id)) return "snapshot";
  // Named by others, and without a record of its own: what is left of a call whose intent was damaged.
  return own.length > 0 ? "call" : undefined;
}

async function aroundCall(chainDirectory: string, own: readonly Entry[]): Promise<Found> {
  const session = own.map(({ record }) => record.body.sessionId).find((it) => it !== undefined);
  const gateway = own[0]?.record.gateway ?? "";
  // A connection's end does not name the calls again; what a person said of one names none. (Of a call it does: a person's answer for a whole
  // session goes under one id in the records of many calls.)
  const names = new Set(own.flatMap(({ record: { body } }) => (body.kind === "event" ? namesOf(body.facts) : [])));
  const isStart = ({ body, gateway: by }: AuditRecord) =>
    body.kind === "event" && body.event === "gateway-started" && by === gateway;
  // A call may have thousands of names, and a chain millions of lines: what may name them is told by the event.
  const linked = (record: AuditRecord) => linkedBy(record).some((it) => names.has(it));
  const ends = names.size === 0 ? NOTHING : await firstOf(chainDirectory, LINKING, linked);
  const start = (await find(chainDirectory, ["gateway-started"], isStart)).entries.slice(0, 1);
  const around = session === undefined ? NOTHING : await sessionAround(chainDirectory, session, own);
  return { entries: [...start, ...ends.entries, ...around.entries], isCut: ends.isCut || around.isCut };
}

/** What an event names that may link it to a call which it does not name; none of any other record. */
export function linkedBy({ body }: AuditRecord): string[] {
  if (body.kind !== "event") return [];
  const isLinking =
    body.event === "connection-closed" || (body.event.startsWith("approval-") && body.callId === undefined);
  return isLinking ? namesOf(body.facts) : [];
}

async function sessionAround(chainDirectory: string, session: string, own: readonly Entry[]): Promise<Found> {
  const seqs = own.filter(({ record }) => isByCall(record));
  const first = seqs[0]?.record.seq ?? 0;
  const last = seqs.at(-1)?.record.seq ?? 0;
  let made: Entry | undefined;
  let before: Entry | undefined;
  const during: Entry[] = [];
  let isCut = false;
  for await (const entry of readChain(
    chainDirectory,
    (line) => line.includes(JSON.stringify(session)) && line.includes('"session-'),
  )) {
    const { body, seq } = entry.record;
    if (body.kind !== "event" || body.sessionId !== session || !body.event.startsWith("session-")) continue;
    isCut = during.length === MAX_RECORDS;
    if (isCut) break;
    if (seq >= first) during.push(entry);
    else before = entry;
    if (seq < first && (body.event === "session-opened" || body.event === "session-woken")) made = entry;
    if (seq > last) break;
  }
  return { entries: [made, before, ...during].filter((it) => it !== undefined), isCut };
}

/** Whether a record is of a call, and not merely of something that it had a part in. */
export function isByCall({ body }: AuditRecord): boolean {
  return body.kind !== "event" || body.callId !== undefined;
}

async function callsOf(chainDirectory: string, own: readonly Entry[]): Promise<Found> {
  const named = [...new Set(own.flatMap(({ record }) => callsNamedBy(record)))];
  const calls = named.slice(0, MAX_CALLS);
  const isEnd = ({ body }: AuditRecord) => body.kind !== "event" && calls.includes(body.callId);
  const { entries, isCut } = await find(chainDirectory, calls, isEnd);
  return { entries, isCut: isCut || named.length > calls.length };
}

/** The calls that a record is of, or names. */
export function callsNamedBy({ body }: AuditRecord): string[] {
  const named = body.kind === "intent" ? [] : callsIn(body.facts);
  return body.callId === undefined ? named : [body.callId, ...named];
}

/**
 * A snapshot that the call is about may be deleted by a person later, whose command writes a chain of its own. Calls name a snapshot by its
 * principal and name, under which there is one at a time.
 */
async function deletions(directory: string, own: readonly Entry[]): Promise<Entry[]> {
  const [intent] = own.filter(({ record }) => record.body.kind === "intent");
  if (intent?.record.body.kind !== "intent") return [];
  const { principal, arguments: args } = intent.record.body;
  const name = textIn(factsIn(args), "snapshot");
  if (name === undefined) return [];
  const isDeletion = ({ body, time }: AuditRecord) => {
    if (body.kind !== "event" || body.event !== "snapshot-deleted" || time < intent.record.time) return false;
    const facts = factsIn(body.facts);
    return facts["name"] === name && facts["principalId"] === principal.id;
  };
  for (const chain of await listChains(directory)) {
    const [first] = (await find(join(directory, chain), ["snapshot-deleted"], isDeletion)).entries;
    if (first) return [first];
  }
  return [];
}

/** Each once. */
function inOrder(entries: readonly Entry[]): Entry[] {
  const bySeq = new Map(entries.map((it) => [it.record.seq, it]));
  return [...bySeq.values()].sort((a, b) => a.record.seq - b.record.seq);
}

function namesOf(facts: Json): string[] {
  const known = factsIn(facts);
  return Object.values(NAMED_BY)
    .map((name) => textIn(known, name))
    .filter((it) => it !== undefined);
}

function callsIn(facts: Json): string[] {
  const known = factsIn(facts);
  const call = textIn(known, "callId");
  return [...textsIn(known, "calls"), ...(call === undefined ? [] : [call])];
}

function snapshotIn({ body }: Pick<AuditRecord, "body">): string | undefined {
  return body.kind === "event" && body.event === "snapshot-deleted" ? textIn(factsIn(body.facts), "id") : undefined;
}
