import { stat } from "node:fs/promises";
import { join } from "node:path";
import { listChains, listSegments, readLines, segmentName } from "./files.ts";
import { readHead } from "./head.ts";
import { readLine } from "./line.ts";
import { tailLog } from "./read.ts";

/** How large a log is. */
export interface Extent {
  readonly chains: number;
  /** As the chains' heads say. */
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
    if (typeof head !== "string") records += head.seq + 1;
    const paths = (await listSegments(directory)).map((it) => join(directory, segmentName(it)));
    for (const path of paths) bytes += (await stat(path)).size;
    const [first] = paths;
    const time = first === undefined ? undefined : await timeAt(first, 0);
    if (time !== undefined && (oldest === undefined || time < oldest)) oldest = time;
  }
  const { entries } = await tailLog(auditDirectory, 1);
  return { chains: chains.length, records, bytes, oldest, newest: entries[0]?.record.time };
}

/** When the record that stands there was written; undefined: there is none, or it is damaged. */
export async function timeAt(path: string, start: number): Promise<string | undefined> {
  for await (const [line] of readLines(path, start)) {
    const read = line?.terminated ? readLine(line.bytes) : undefined;
    return read?.sound ? read.record.time : undefined;
  }
  return undefined;
}
