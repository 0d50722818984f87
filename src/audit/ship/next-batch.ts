import { join } from "node:path";
import { printable } from "../../lib/text.ts";
import { type Continuity, continuity } from "../continuity.ts";
import { listSegments, readLines, segmentName } from "../files.ts";
import { GENESIS_HASH, readLine } from "../line.ts";
import type { Entry } from "../read.ts";
import type { Batch, Sink } from "../sinks/sink.ts";
import type { Place } from "./cursor.ts";
import { problemAt } from "./standing.ts";

/** Of what is said about a damage. */
const MAX_CHARS = 500;

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
  const [oldest = 1] = segments;
  const changed = after && (await problemAt(directory, after));
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
        const first = after ? after.first : entries[0]?.record.seq;
        const { seq, hash } = record;
        place = { segment, start: line.offset, end: line.end, seq, ...(first && { first }), hash };
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

function soundLine(check: Continuity, bytes: Buffer) {
  const { record, findings } = check.check(readLine(bytes));
  const [finding] = findings;
  if (finding || !record) return { problem: finding?.message ?? "not a record" };
  return { record };
}

/** The chain, and what is wrong with it, for people. */
export function damaged(chain: string, problem: string): Damage {
  // A key of a damaged line may stand in it.
  return { damage: printable(`${chain}/${problem}`, MAX_CHARS) };
}
