import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../lib/error.ts";
import { listChains, listSegments, readLinesIfAny, segmentName } from "./files.ts";
import { readHead } from "./head.ts";
import { readLine } from "./line.ts";
import { tailLog } from "./read.ts";

/** How large a log is. */
export interface Extent {
  readonly chains: number;
  /** That are there, as the chains' heads say. */
  readonly records: number;
  readonly bytes: number;
  /** RFC 3339, by what the clocks said; undefined: there is none, or it is damaged. */
  readonly oldest: string | undefined;
  readonly newest: string | undefined;
}

/** Without reading all of it: a record at each chain's beginning, and one at its end. */
export async function measureLog(auditDirectory: string): Promise<Extent> {
  const chains = await listChains(auditDirectory);
  let [records, bytes] = [0, 0];
  let oldest: string | undefined;
  for (const chain of chains) {
    const directory = join(auditDirectory, chain);
    const head = await readHead(directory);
    const numbers = await listSegments(directory);
    const [first] = numbers;
    const missing = first === undefined ? 0 : await recordsBefore(directory, first);
    if (typeof head !== "string") records += Math.max(0, head.seq + 1 - missing);
    for (const number of numbers) bytes += await sizeOf(join(directory, segmentName(number)));
    const time = first === undefined ? undefined : await timeAt(join(directory, segmentName(first)), 0);
    if (time !== undefined && (oldest === undefined || time < oldest)) oldest = time;
  }
  const { entries } = await tailLog(auditDirectory, 1);
  return { chains: chains.length, records, bytes, oldest, newest: entries[0]?.record.time };
}

/** How many records a chain had before its first segment that is there. */
export async function recordsBefore(chainDirectory: string, first: number): Promise<number> {
  if (first === 1) return 0;
  for await (const [line] of readLinesIfAny(join(chainDirectory, segmentName(first)))) {
    const read = line?.terminated ? readLine(line.bytes) : undefined;
    return read?.sound ? read.record.seq : 0;
  }
  return 0;
}

/** 0 of a file that was removed meanwhile. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

/** When the record that stands there was written; undefined: there is none, or it is damaged. */
export async function timeAt(path: string, start: number): Promise<string | undefined> {
  for await (const [line] of readLinesIfAny(path, start)) {
    const read = line?.terminated ? readLine(line.bytes) : undefined;
    return read?.sound ? read.record.time : undefined;
  }
  return undefined;
}
