import { join } from "node:path";
import { factsIn, textIn } from "./facts.ts";
import { type Entry, readChain } from "./read.ts";
import type { AuditRecord } from "./record.ts";
import { callsNamedBy, hasOneOf, isByCall, isOf, LINKING, linkedBy, type Story } from "./story.ts";

/** Ids that are remembered. What more of them lead to is left out, and that is told. */
const MAX_NAMES = 100_000;

/**
 * Every record of a story, however long it is, in the log's order; what other chains have of it last. Of a story that is cut, the chain is read once or twice
 * more. Memory is bounded.
 * @param onLost told, once, that what belongs to it by more ids than are remembered is left out
 */
export async function* wholeStory(directory: string, story: Story, onLost: () => void): AsyncGenerator<Entry> {
  if (!story.isCut) {
    yield* story.entries;
    return;
  }
  const { kind, id, chain, entries } = story;
  const chainDirectory = join(directory, chain);
  if (kind === "session") yield* readChainFor(chainDirectory, [JSON.stringify(id)], (record) => isOf(record, id));
  else if (kind === "call") yield* wholeCall(chainDirectory, story, newNames(onLost));
  else yield* withCalls(chainDirectory, id, newNames(onLost));
  yield* entries.filter(({ record }) => record.chain !== chain);
}

interface Names {
  add(name: string): void;
  delete(name: string): void;
  has(name: string): boolean;
}

function newNames(onLost: () => void): Names {
  const names = new Set<string>();
  let isFull = false;
  return {
    add: (name) => {
      if (names.has(name)) return;
      if (names.size < MAX_NAMES) names.add(name);
      else if (!isFull) {
        isFull = true;
        onLost();
      }
    },
    delete: (name) => void names.delete(name),
    has: (name) => names.has(name),
  };
}

async function* wholeCall(chainDirectory: string, { id, entries }: Story, names: Names): AsyncGenerator<Entry> {
  // What stands before the call, as its gateway's start does, is among what is told in any case.
  const told = new Set(entries.map(({ record }) => record.hash));
  let session: string | undefined;
  let [first, last] = [Number.POSITIVE_INFINITY, 0];
  // Whom people were asked about is on record before the connection that they were asked about.
  for await (const { record } of readChainFor(chainDirectory, [JSON.stringify(id)], (it) => isOf(it, id))) {
    const { body, seq } = record;
    session ??= body.sessionId;
    if (isByCall(record)) [first, last] = [Math.min(first, seq), seq];
    const approval = named(record, "approvalId");
    if (approval !== undefined) names.add(approval);
  }
  let isOver = false;
  const isDuring = ({ body, seq }: AuditRecord) => {
    if (isOver || body.kind !== "event" || session === undefined || body.sessionId !== session) return false;
    if (!body.event.startsWith("session-") || seq < first) return false;
    isOver = seq > last;
    return true;
  };
  const isOfStory = (record: AuditRecord) => {
    const isOwn = isOf(record, id);
    // Connections are remembered while they are open.
    const connection = named(record, "connectionId");
    if (isOwn && connection !== undefined) names.add(connection);
    const isLinked = linkedBy(record).some((it) => names.has(it));
    if (isLinked && connection !== undefined) names.delete(connection);
    return [isOwn, isLinked, isDuring(record), told.has(record.hash)].some((it) => it);
  };
  const pieces = ["gateway-started", "snapshot-deleted"].map((it) => JSON.stringify(it));
  yield* readChainFor(chainDirectory, [JSON.stringify(id), ...LINKING, '"event":"session-', ...pieces], isOfStory);
}

function named({ body }: AuditRecord, name: "approvalId" | "connectionId"): string | undefined {
  return body.kind === "event" ? textIn(factsIn(body.facts), name) : undefined;
}

/** Of a connection, approval, process or machine: its records, and the calls that it is part of. */
async function* withCalls(chainDirectory: string, id: string, calls: Names): AsyncGenerator<Entry> {
  for await (const { record } of readChainFor(chainDirectory, [JSON.stringify(id)], (it) => isOf(it, id))) {
    for (const it of callsNamedBy(record)) calls.add(it);
  }
  const isOfStory = (record: AuditRecord) =>
    isOf(record, id) || (record.body.kind !== "event" && calls.has(record.body.callId));
  yield* readChainFor(chainDirectory, [JSON.stringify(id), '"kind":"intent"', '"kind":"outcome"'], isOfStory);
}

/** The records of a chain that `matters` says so of; their lines have one of the pieces of JSON. */
async function* readChainFor(
  chainDirectory: string,
  pieces: readonly string[],
  matters: (record: AuditRecord) => boolean,
): AsyncGenerator<Entry> {
  for await (const entry of readChain(chainDirectory, hasOneOf(pieces))) if (matters(entry.record)) yield entry;
}
