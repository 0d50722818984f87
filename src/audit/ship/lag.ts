import { stat } from "node:fs/promises";
import { join } from "node:path";
import { recordsBefore, timeAt } from "../extent.ts";
import { listChains, listSegments, segmentName } from "../files.ts";
import { readHead } from "../head.ts";
import type { Position } from "../line.ts";
import type { Cursor, Place } from "./cursor.ts";
import { endsAt, isAt, problemAt } from "./standing.ts";

/** By so much clocks are set back and nobody minds. */
const AHEAD_MS = 5_000;

/** What of the log a receiver has not confirmed. */
export interface Backlog {
  readonly records: number;
  /** Of their lines. */
  readonly bytes: number;
  /** When the oldest of them was written, in epoch ms; undefined: there are none, or it can't be read. */
  readonly oldestMs: number | undefined;
  /** Of a chain at least it can't be said what is missing, or since when: there is more of it than the numbers say. */
  readonly isUnknown: boolean;
}

/**
 * By the log itself, so that it is right also when nobody ships. What of it can't be read, or is gone, is said to be unknown: it would
 * otherwise look as if it had been shipped. Memory: a block.
 */
export async function measureBacklog(auditDirectory: string, cursor: Cursor): Promise<Backlog> {
  let records = 0;
  let bytes = 0;
  let oldestMs: number | undefined;
  const chains = await listChains(auditDirectory);
  let isUnknown = [...cursor.keys()].some((it) => !chains.includes(it));
  for (const chain of chains) {
    const own = await measureChain(join(auditDirectory, chain), cursor.get(chain)).catch(() => undefined);
    if (!own || own.isUnknown) isUnknown = true;
    records += own?.records ?? 0;
    bytes += own?.bytes ?? 0;
    if (own?.oldestMs !== undefined) oldestMs = Math.min(oldestMs ?? own.oldestMs, own.oldestMs);
  }
  return { records, bytes, oldestMs, isUnknown };
}

async function measureChain(directory: string, place: Place | undefined): Promise<Backlog> {
  const head = await readHead(directory);
  // One that is being made has neither.
  const hasNoHead = typeof head === "string" && (place !== undefined || (await listSegments(directory)).length > 0);
  // Put back from an older copy, it may stand behind what was shipped, or be another log that was longer all the same.
  const wasReplaced = typeof head !== "string" && place && (await isReplaced(directory, head, place));
  const isUnknown = hasNoHead || wasReplaced === true;
  const [first] = await listSegments(directory);
  const shipped = place?.seq ?? (first === undefined ? -1 : (await recordsBefore(directory, first)) - 1);
  const records = typeof head === "string" ? 0 : Math.max(0, head.seq - shipped);
  if (records === 0) return { records, bytes: 0, oldestMs: undefined, isUnknown };
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
  const oldestMs = oldest === undefined ? undefined : Date.parse(oldest);
  // Of a record from the future nobody knows how old it is: the clock was ahead, and was set back.
  const isAgeKnown = oldestMs !== undefined && oldestMs <= Date.now() + AHEAD_MS;
  return { records, bytes, oldestMs, isUnknown: isUnknown || !isAgeKnown };
}

/** One that ends where it was shipped to is not read. */
async function isReplaced(directory: string, head: Position, place: Place): Promise<boolean> {
  if (isAt(head, place) && (await endsAt(directory, place))) return false;
  return (await problemAt(directory, place)) !== undefined;
}
