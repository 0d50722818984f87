import { stat } from "node:fs/promises";
import { join } from "node:path";
import { timeAt } from "../extent.ts";
import { listChains, listSegments, segmentName } from "../files.ts";
import { readHead } from "../head.ts";
import type { Cursor, Place } from "./cursor.ts";

/** What of the log a receiver has not confirmed. */
export interface Backlog {
  readonly records: number;
  /** Of their lines. */
  readonly bytes: number;
  /** When the oldest of them was written, in epoch ms; undefined: there are none, or its line is damaged. */
  readonly oldestMs: number | undefined;
}

/** By the log itself, so that it is right also when nobody ships. Memory: a block. */
export async function measureBacklog(auditDirectory: string, cursor: Cursor): Promise<Backlog> {
  let records = 0;
  let bytes = 0;
  let oldestMs: number | undefined;
  for (const chain of await listChains(auditDirectory)) {
    const directory = join(auditDirectory, chain);
    const place = cursor.get(chain);
    const head = await readHead(directory);
    const missing = typeof head === "string" ? 0 : Math.max(0, head.seq - (place?.seq ?? -1));
    if (missing === 0) continue;
    records += missing;
    const own = await measureChain(directory, place);
    bytes += own.bytes;
    if (own.oldestMs !== undefined) oldestMs = Math.min(oldestMs ?? own.oldestMs, own.oldestMs);
  }
  return { records, bytes, oldestMs };
}

async function measureChain(directory: string, place: Place | undefined) {
  let bytes = 0;
  let oldest: string | undefined;
  for (const segment of await listSegments(directory)) {
    if (segment < (place?.segment ?? 1)) continue;
    const path = join(directory, segmentName(segment));
    const start = segment === place?.segment ? place.end : 0;
    const behind = (await stat(path)).size - start;
    if (behind <= 0) continue;
    bytes += behind;
    oldest ??= await timeAt(path, start);
  }
  return { bytes, oldestMs: oldest === undefined ? undefined : Date.parse(oldest) };
}
