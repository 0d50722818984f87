import { join } from "node:path";
import { findLastLines, listChains, listSegments, readLines, segmentName } from "./files.ts";
import { readLine } from "./line.ts";
import type { AuditRecord } from "./record.ts";

const MAX_TAIL_BYTES = 16 * 1024 * 1024;

/** Sound records of all chains, each chain in its order. Damage is passed over: `verifyLog` is what reports it. Memory is bounded. */
export async function* readRecords(directory: string): AsyncGenerator<AuditRecord> {
  for (const chain of await listChains(directory)) {
    for (const segment of await listSegments(join(directory, chain))) {
      yield* recordsFrom(join(directory, chain, segmentName(segment)), 0);
    }
  }
}

/** The last `count` records by time, over all chains; those of one chain that lie in its last segment. */
export async function lastRecords(directory: string, count: number): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for (const chain of await listChains(directory)) {
    const segment = (await listSegments(join(directory, chain))).at(-1);
    if (segment === undefined) continue;
    const path = join(directory, chain, segmentName(segment));
    const { offset } = await findLastLines(path, count, MAX_TAIL_BYTES);
    for await (const record of recordsFrom(path, offset)) records.push(record);
  }
  return records.sort(byTime).slice(-count);
}

/** Time first; within a chain its own order. */
export function byTime(a: AuditRecord, b: AuditRecord): number {
  return a.time === b.time ? a.seq - b.seq : a.time < b.time ? -1 : 1;
}

async function* recordsFrom(path: string, start: number): AsyncGenerator<AuditRecord> {
  for await (const lines of readLines(path, start)) {
    for (const line of lines) {
      const read = line.terminated ? readLine(line.bytes) : undefined;
      if (read?.sound) yield read.record;
    }
  }
}
