import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isMissing } from "../lib/error.ts";
import { findLastLines, listChains, listSegments, readLinesIfAny, segmentName } from "./files.ts";
import { readLine } from "./line.ts";
import type { AuditRecord } from "./record.ts";

/** How far back in a chain, over all its segments, its latest records are looked for. */
export const MAX_TAIL_BYTES = 16 * 1024 * 1024;
const FOLLOW_MS = 250;
const ALL = () => true;

/** A sound record, and its line as it stands in the log. */
export interface Entry {
  readonly record: AuditRecord;
  readonly text: string;
}

/** How far a reader has come in a chain: `offset` bytes of a segment are read. */
interface Cursor {
  segment: number;
  offset: number;
}
/** By chain. A chain that has none is read from its beginning. */
export type Cursors = Map<string, Cursor>;

/**
 * The records of a chain in order, those whose line `mayMatter` says so. Damage and half-written lines are passed over, and the former told:
 * `verifyLog` is what reports it. Memory is bounded, and a gateway may be writing.
 */
export async function* readChain(
  chainDirectory: string,
  mayMatter: (line: Buffer) => boolean,
  onDamaged?: () => void,
): AsyncGenerator<Entry> {
  for (const segment of await listSegments(chainDirectory)) {
    yield* readFrom(chainDirectory, { segment, offset: 0 }, mayMatter, onDamaged);
  }
}

interface Tail {
  readonly entries: Entry[];
  /** From where on `followLog` has the next. */
  readonly cursors: Cursors;
  /** A chain has more than was looked at, and may have some of the latest. */
  readonly isCut: boolean;
  /** Lines that were passed over. */
  readonly damaged: number;
}

/** The latest `count` records of all chains by time. Of each chain at most `maxBytes` are looked at, and held. */
export async function tailLog(directory: string, count: number, maxBytes = MAX_TAIL_BYTES): Promise<Tail> {
  const cursors: Cursors = new Map();
  let entries: Entry[] = [];
  let isCut = false;
  let damaged = 0;
  const onDamaged = () => {
    damaged += 1;
  };
  for (const chain of await listChains(directory)) {
    const chainDirectory = join(directory, chain);
    const own: Entry[] = [];
    const tail = await findTail(chainDirectory, count, maxBytes);
    isCut ||= tail.isCut;
    for (const cursor of tail.starts) {
      for await (const entry of readFrom(chainDirectory, cursor, ALL, onDamaged)) own.push(entry);
      cursors.set(chain, cursor);
    }
    entries = merged(entries, own).slice(-count);
  }
  return { entries, cursors, isCut, damaged };
}

/** What is written from the cursors on, in every chain and in those that are yet to be made, until `signal` aborts. */
export async function* followLog(
  directory: string,
  cursors: Cursors,
  { signal, onDamaged }: { readonly signal?: AbortSignal; readonly onDamaged?: () => void } = {},
): AsyncGenerator<Entry> {
  while (!signal?.aborted) {
    for (const chain of await listChains(directory)) {
      const chainDirectory = join(directory, chain);
      const cursor = cursors.get(chain) ?? { segment: 1, offset: 0 };
      cursors.set(chain, cursor);
      // Listed before it is read: a segment that has a successor gets no more records.
      for (const segment of await listSegments(chainDirectory)) {
        if (segment < cursor.segment) continue;
        if (segment > cursor.segment) Object.assign(cursor, { segment, offset: 0 });
        yield* readFrom(chainDirectory, cursor, ALL, onDamaged);
      }
    }
    await sleep(FOLLOW_MS, undefined, signal ? { signal } : {}).catch(() => undefined);
  }
}

/** By time, each list keeping its own order: a clock may have been set back, a chain's order is its numbers'. */
function merged(a: readonly Entry[], b: readonly Entry[]): Entry[] {
  const all: Entry[] = [];
  let at = 0;
  for (const entry of a) {
    for (let next = b[at]; next && next.record.time < entry.record.time; next = b[at]) {
      all.push(next);
      at += 1;
    }
    all.push(entry);
  }
  return [...all, ...b.slice(at)];
}

/** Where the last `count` lines of a chain begin: a place in each segment that has some of them, in order. */
async function findTail(chainDirectory: string, count: number, maxBytes: number) {
  const starts: Cursor[] = [];
  let missing = count;
  let bytesLeft = maxBytes;
  let isCut = false;
  for (const segment of (await listSegments(chainDirectory)).reverse()) {
    const tail = await lastLines(join(chainDirectory, segmentName(segment)), missing, bytesLeft);
    if (!tail) break;
    const { offset, found, bytes } = tail;
    starts.unshift({ segment, offset });
    missing -= found;
    bytesLeft -= bytes;
    isCut = missing > 0 && offset > 0;
    if (missing <= 0 || isCut) break;
  }
  return { starts, isCut };
}

/** Undefined of a segment that was removed for its age since it was listed: then those before it were, too. */
async function lastLines(path: string, count: number, maxBytes: number) {
  try {
    return await findLastLines(path, count, maxBytes);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Reads whole lines from the cursor to the segment's end, and moves the cursor behind each. */
async function* readFrom(
  chainDirectory: string,
  cursor: Cursor,
  mayMatter: (line: Buffer) => boolean,
  onDamaged?: () => void,
): AsyncGenerator<Entry> {
  for await (const lines of readLinesIfAny(join(chainDirectory, segmentName(cursor.segment)), cursor.offset)) {
    for (const { bytes, terminated, end } of lines) {
      if (!terminated) return;
      cursor.offset = end;
      if (!mayMatter(bytes)) continue;
      const read = readLine(bytes);
      if (read.sound) yield { record: read.record, text: bytes.toString("utf8") };
      else onDamaged?.();
    }
  }
}
