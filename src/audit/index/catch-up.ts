import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { isMissing } from "../../lib/error.ts";
import { listChains, listSegments, readLinesIfAny, segmentName } from "../files.ts";
import { readLine } from "../line.ts";
import { newestSeal } from "../truncate/beginning.ts";
import {
  BEGINNING,
  type Cursor,
  chainNumber,
  dropChain,
  isDropped,
  readChains,
  readCursor,
  sameCursor,
  writeCursor,
} from "./chains.ts";
import { createInserter, type Inserter, type Placed } from "./insert.ts";
import { type AuditIndex, transaction } from "./open.ts";
import { lineAt } from "./read-back.ts";
import { rowOf } from "./rows.ts";
import { trimChain } from "./trim.ts";

const BATCH_RECORDS = 10_000;
const BATCH_BYTES = 4 * 1024 * 1024;
/** A greater `seq` is none that a gateway came to. */
const MAX_ORDINAL = 2 ** 48;

export interface CatchUpOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Told of a chain whose indexed part is not what it was: it is indexed anew. */
  readonly onChanged?: (chain: string) => void;
  /** In one transaction. */
  readonly batchRecords?: number;
  /** Between two of them. */
  readonly pause?: (tookMs: number) => Promise<void>;
}

/** Grows: of the bytes that were to be read at the start. */
export interface Progress {
  readonly records: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface CaughtUp {
  /** That this run indexed. */
  readonly records: number;
  /** Lines of the whole log that are not as they were written: `verifyLog` says where. */
  readonly damaged: number;
}

interface Run {
  readonly index: AuditIndex;
  readonly inserter: Inserter;
  readonly options: CatchUpOptions;
  readonly tally: { records: number; bytes: number; totalBytes: number };
}

/**
 * Reads into the index what the log has and it has not. Rows and how far they go are written in one transaction: whenever this ends, nothing
 * is missing or doubled. Several processes may do it at once. Damaged lines are counted and passed over; a log that was changed below what
 * is indexed is indexed anew, chain by chain.
 * @throws the file system's and SQLite's errors; the signal's reason when it is aborted
 */
export async function catchUp(
  index: AuditIndex,
  auditDirectory: string,
  options: CatchUpOptions = {},
): Promise<CaughtUp> {
  const chains = await listChains(auditDirectory);
  const known = readChains(index);
  for (const [chain, cursor] of known) {
    if (!chains.includes(chain)) await drop(index, chain, cursor, options);
  }
  const tally = { records: 0, bytes: 0, totalBytes: 0 };
  for (const chain of chains) {
    tally.totalBytes += await bytesBehind(join(auditDirectory, chain), known.get(chain) ?? BEGINNING);
  }
  const run: Run = { index, inserter: createInserter(index), options, tally };
  for (const chain of chains) await catchUpChain(run, chain, join(auditDirectory, chain));
  const damaged = [...readChains(index).values()].reduce((sum, it) => sum + it.damaged, 0);
  return { records: tally.records, damaged };
}

async function drop(index: AuditIndex, chain: string, cursor: Cursor, options: CatchUpOptions): Promise<void> {
  if (!isDropped(cursor)) options.onChanged?.(chain);
  await dropChain(index, chain, cursor, async (tookMs) => {
    await rest(options, tookMs);
    options.signal?.throwIfAborted();
  });
}

async function rest({ pause }: CatchUpOptions, tookMs: number): Promise<void> {
  await (pause?.(tookMs) ?? setImmediate());
}

async function catchUpChain(run: Run, chain: string, directory: string): Promise<void> {
  const { index, options } = run;
  for (;;) {
    options.signal?.throwIfAborted();
    const cursor = readCursor(index, chain);
    const segments = await listSegments(directory);
    const first = firstLeft(cursor, segments);
    // What is gone without a record that says so was not removed for its age.
    if (first !== undefined && (await isRemoved(directory, segments, first))) {
      await trimChain(index, chain, first, async (tookMs) => {
        await rest(options, tookMs);
        options.signal?.throwIfAborted();
      });
    } else if (!(await isAsIndexed(directory, cursor, segments))) {
      await drop(index, chain, cursor, options);
    } else if (await readOn(run, { chain, directory, segments }, cursor)) return;
  }
}

interface Chain {
  readonly chain: string;
  readonly directory: string;
  readonly segments: readonly number[];
}

/** False when another process has written of the chain meanwhile. */
async function readOn({ index, inserter, options, tally }: Run, at: Chain, from: Cursor): Promise<boolean> {
  let written = from;
  for await (const { rows, cursor, bytes } of batches(at, from, options.batchRecords ?? BATCH_RECORDS)) {
    options.signal?.throwIfAborted();
    const startedMs = performance.now();
    let isOurs = false;
    let records = 0;
    try {
      transaction(index, () => {
        isOurs = sameCursor(readCursor(index, at.chain), written);
        if (!isOurs) return;
        const id = chainNumber(index, at.chain);
        const placeless = inserter.insert(id, rows);
        records = rows.length - placeless;
        const total = written.records + records;
        written = { ...cursor, records: total, damaged: written.damaged + cursor.damaged + placeless };
        writeCursor(index, id, written);
      });
    } catch (error) {
      inserter.forget();
      throw error;
    }
    if (!isOurs) return false;
    tally.records += records;
    tally.bytes += bytes;
    options.onProgress?.({ ...tally });
    await rest(options, performance.now() - startedMs);
  }
  return true;
}

interface IndexBatch {
  readonly rows: readonly Placed[];
  /** Behind the batch; `damaged` is of the batch alone. */
  readonly cursor: Cursor;
  readonly bytes: number;
}

async function* batches({ directory, segments }: Chain, from: Cursor, maxRecords: number): AsyncGenerator<IndexBatch> {
  let rows: Placed[] = [];
  let bytes = 0;
  let cursor: Cursor = { ...from, damaged: 0 };
  let isNew = false;
  for (const segment of segments) {
    if (segment < cursor.segment) continue;
    if (segment > cursor.segment) {
      cursor = { ...cursor, segment, offset: 0, segments: segments.filter((it) => it <= segment).length };
      isNew = true;
    }
    for await (const lines of readLinesIfAny(join(directory, segmentName(segment)), cursor.offset)) {
      for (const { bytes: line, offset, end, terminated } of lines) {
        // A gateway is writing it, or died: but only at the very end.
        if (!terminated && segment === segments.at(-1)) continue;
        bytes += end - offset;
        isNew = true;
        const read = terminated ? readLine(line) : undefined;
        if (!read?.sound) {
          cursor = { ...cursor, offset: end, damaged: cursor.damaged + 1 };
          continue;
        }
        const { record } = read;
        const { seq } = record;
        const ordinal = seq > cursor.ordinal && seq < MAX_ORDINAL ? seq : cursor.ordinal + 1;
        const place = { segment, offset, length: line.length, hash: Buffer.from(record.hash, "hex") };
        rows.push({ row: rowOf(record), ordinal, seq, ...place });
        cursor = { ...cursor, offset: end, ordinal, last: place };
        if (rows.length < maxRecords && bytes < BATCH_BYTES) continue;
        yield { rows, cursor, bytes };
        rows = [];
        bytes = 0;
        cursor = { ...cursor, damaged: 0 };
        isNew = false;
      }
    }
  }
  if (isNew) yield { rows, cursor, bytes };
}

/**
 * The first segment that is left of a chain whose beginning was removed since it was indexed; undefined where none was, or where more was than that, or
 * lines are counted of which nobody knows where they stood: then it is indexed anew.
 */
function firstLeft(cursor: Cursor, segments: readonly number[]): number | undefined {
  const [first] = segments;
  if (first === undefined || isDropped(cursor) || cursor.damaged > 0 || first > cursor.segment) return undefined;
  const left = segments.filter((it) => it <= cursor.segment).length;
  const isUnbroken = left === cursor.segment - first + 1;
  return isUnbroken && left < cursor.segments && cursor.segments <= cursor.segment ? first : undefined;
}

/** Whether a record that a gateway signed says that all segments before `first` were to go. */
async function isRemoved(directory: string, segments: readonly number[], first: number): Promise<boolean> {
  const seal = await newestSeal(directory, segments);
  return seal !== undefined && seal.facts.segments[1] >= first - 1;
}

/** Whether the files reach to the cursor, are all there, and the last record that is indexed stands where it stood. */
async function isAsIndexed(directory: string, cursor: Cursor, segments: readonly number[]): Promise<boolean> {
  if (isDropped(cursor)) return false;
  if (cursor.segment === 0) return true;
  if (segments.filter((it) => it <= cursor.segment).length !== cursor.segments) return false;
  const size = await sizeOf(join(directory, segmentName(cursor.segment)));
  if (size === undefined || size < cursor.offset) return false;
  if (!cursor.last) return true;
  const { hash, ...place } = cursor.last;
  const line = await lineAt(directory, place);
  const read = line && readLine(line);
  return read?.sound === true && read.record.hash === hash.toString("hex");
}

async function bytesBehind(directory: string, { segment, offset }: Cursor): Promise<number> {
  let bytes = 0;
  for (const it of await listSegments(directory)) {
    if (it < segment) continue;
    bytes += Math.max(0, ((await sizeOf(join(directory, segmentName(it)))) ?? 0) - (it === segment ? offset : 0));
  }
  return bytes;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
