import { join } from "node:path";
import { printable } from "../../lib/text.ts";
import { type Continuity, continuity } from "../continuity.ts";
import { listSegments, openForReading, readLines, segmentName } from "../files.ts";
import { GENESIS_HASH, MAX_LINE_BYTES, readLine } from "../line.ts";
import type { Entry } from "../read.ts";
import type { Batch, Sink } from "../sinks/sink.ts";
import type { Place } from "./cursor.ts";

/** Of what is said about a damage. */
const MAX_CHARS = 500;

/** Records went unshipped, as a person wanted it, or the cursor is of an older copy. */
const HOW_TO_GO_ON =
  "the log was truncated before all of it was shipped; to go on with what is left, end what ships and remove `cursor.json` of this sink: " +
  "what is left is shipped again, with the same ids; a store in PostgreSQL takes no chain with a gap, and needs another `schema`";

export interface NextBatch {
  readonly batch: Batch;
  /** Where the cursor stands once it is confirmed. */
  readonly place: Place;
}

/** Why a chain can't be shipped any further, in words that name the place. */
export interface Damage {
  readonly damage: string;
}

export interface NextBatchOptions {
  readonly auditDirectory: string;
  readonly chain: string;
  /** Undefined: nothing was shipped yet. */
  readonly after: Place | undefined;
  /** What lies behind this record may yet be cut off and written otherwise; Infinity where nobody writes the chain. */
  readonly upToSeq: number;
  readonly max: Sink["maxBatch"];
}

/**
 * The records behind a place, checked as `audit verify` does, as many as fit into one batch; undefined: there are none. What was shipped
 * last has to stand where it stood, so that a log that was cut or replaced is found out before anything else is sent.
 */
export async function nextBatch(options: NextBatchOptions): Promise<NextBatch | Damage | undefined> {
  const { auditDirectory, chain, after, upToSeq, max } = options;
  const directory = join(auditDirectory, chain);
  // Listed before it is read: a segment that has a successor gets no more records.
  const segments = await listSegments(directory);
  const last = segments.at(-1);
  if (last === undefined && !after) return undefined;
  const [oldest = 1] = segments;
  const changed = after && (await problemAt(directory, after, oldest));
  if (changed !== undefined) return damaged(chain, changed);
  const from = after ?? { seq: -1, hash: GENESIS_HASH };
  // To a receiver that has nothing, what is left of a chain whose beginning was removed goes; whether it was by rule, `verifyLog` says.
  const check = continuity(chain, after || oldest === 1 ? from : undefined);
  const entries: Entry[] = [];
  let bytes = 0;
  let place = after;
  for (let segment = after?.segment ?? oldest; segment <= (last ?? 0); segment += 1) {
    const name = segmentName(segment);
    if (!segments.includes(segment)) return give(`${name} is missing`);
    const start = segment === after?.segment ? after.end : 0;
    for await (const lines of readLines(join(directory, name), start)) {
      for (const line of lines) {
        if (check.position.seq >= upToSeq) return give();
        const where = `${name}, byte ${line.offset}`;
        if (!line.terminated) return give(segment === last ? undefined : `${where}: half a record`);
        const read = soundLine(check, line.bytes);
        if ("problem" in read) return give(`${where}: ${read.problem}`);
        const { record } = read;
        const isFull = entries.length >= max.records || bytes + line.bytes.length > max.bytes;
        if (isFull && entries.length > 0) return give();
        entries.push({ record, text: line.bytes.toString("utf8") });
        bytes += line.bytes.length;
        place = { segment, start: line.offset, end: line.end, seq: record.seq, hash: record.hash };
      }
    }
  }
  return give();

  /** What is sound before a damage is shipped first. */
  function give(problem?: string): NextBatch | Damage | undefined {
    const [first, ...others] = entries;
    if (first && place) return { batch: { chain, entries: [first, ...others] }, place };
    if (problem !== undefined) return damaged(chain, problem);
    if (upToSeq === Number.POSITIVE_INFINITY || upToSeq <= from.seq) return undefined;
    return damaged(chain, `the log ends at record ${from.seq} and had reached ${upToSeq}: its end was cut off`);
  }
}

/** What is wrong with the record that was shipped last; undefined: it stands where it stood. */
async function problemAt(directory: string, place: Place, oldest: number): Promise<string | undefined> {
  const name = segmentName(place.segment);
  const size = place.end - place.start;
  if (size < 1 || size > MAX_LINE_BYTES + 1) return "the cursor is not at a record";
  const where = `${name}, byte ${place.start}`;
  try {
    await using file = await openForReading(join(directory, name));
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, place.start);
    const read = bytesRead === size && buffer[size - 1] === 10 ? readLine(buffer.subarray(0, size - 1)) : undefined;
    if (read?.sound && read.record.seq === place.seq && read.record.hash === place.hash) return undefined;
    return `${where}: record ${place.seq}, which was shipped, is not there any more: the log was cut or replaced`;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    const missing = `${name}, of which record ${place.seq} was shipped, is missing`;
    return place.segment < oldest ? `${missing}: ${HOW_TO_GO_ON}` : missing;
  }
}

function soundLine(check: Continuity, bytes: Buffer) {
  const { record, findings } = check.check(readLine(bytes));
  const [finding] = findings;
  if (finding || !record) return { problem: finding?.message ?? "not a record" };
  return { record };
}

function damaged(chain: string, problem: string): Damage {
  // A key of a damaged line may stand in it.
  return { damage: printable(`${chain}/${problem}`, MAX_CHARS) };
}
