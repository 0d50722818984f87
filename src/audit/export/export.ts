import { join } from "node:path";
import { isHeld } from "../chain.ts";
import { listChains, listSegments, readLinesIfAny, segmentName } from "../files.ts";
import { readLine } from "../line.ts";
import type { AuditRecord } from "../record.ts";
import { toCef } from "./cef.ts";
import { CSV_HEADER, toCsv } from "./csv.ts";
import { toOcsf } from "./ocsf.ts";
import { createRecollection, type ExportContext } from "./recollection.ts";

export const FORMATS = ["jsonl", "ocsf", "cef", "csv"] as const;
export type Format = (typeof FORMATS)[number];

/** Of more damaged lines the count is kept, not the place. */
const MAX_PLACES = 20;

export interface ExportOptions {
  readonly format: Format;
  /** OCSF events carry the text that was hashed. */
  readonly withRaw?: boolean;
  /** What happened in it, and nothing else. */
  readonly session?: string;
  /** Milliseconds since 1970; inclusive. */
  readonly sinceMs?: number;
  /** The same; exclusive. */
  readonly untilMs?: number;
}

/** Where a line is not as it was written. */
interface Damage {
  readonly chain: string;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

/** Grows while the log is read. */
export interface Export {
  chains: number;
  /** Sound ones, whether or not they were asked for. */
  read: number;
  /** Those that were. */
  exported: number;
  /** More than records where a record is several events. */
  lines: number;
  /** Lines that were passed over: an export has no way to say what was in them. */
  damaged: number;
  /** The first 20 of them. */
  readonly places: Damage[];
}

export function newExport(): Export {
  return { chains: 0, read: 0, exported: 0, lines: 0, damaged: 0, places: [] };
}

/**
 * The log in a format, chain by chain, the oldest first, each in its own order: pieces of text that end with a line break. Each record has to have
 * its own hash; what has not is counted in `tally` and passed over, and whether any is missing is for `verifyLog` to say. Memory is bounded, and
 * gateways may be writing. Iterating throws the file system's error when something can't be read.
 */
export async function* exportLog(directory: string, options: ExportOptions, tally: Export): AsyncGenerator<string> {
  if (options.format === "csv") yield `${CSV_HEADER}\n`;
  for (const chain of await listChains(directory)) {
    tally.chains += 1;
    yield* exportChain(directory, chain, options, tally);
  }
}

async function* exportChain(
  directory: string,
  chain: string,
  options: ExportOptions,
  tally: Export,
): AsyncGenerator<string> {
  const chainDirectory = join(directory, chain);
  const known = createRecollection();
  const numbers = await listSegments(chainDirectory);
  for (const number of numbers) {
    const file = segmentName(number);
    for await (const lines of readLinesIfAny(join(chainDirectory, file))) {
      const texts: string[] = [];
      for (const { bytes, number: line, terminated } of lines) {
        const read = readLine(bytes);
        if (!read.sound || !terminated) {
          // The end of a segment that a gateway is writing.
          if (!terminated && number === numbers.at(-1) && isHeld(chainDirectory)) continue;
          damaged(tally, { chain, file, line, message: read.sound ? "it has no line break" : read.message });
          continue;
        }
        const { record } = read;
        tally.read += 1;
        known.note(record);
        if (!isMeant(record, options, known)) continue;
        tally.exported += 1;
        texts.push(...written(record, bytes, options, known));
      }
      tally.lines += texts.length;
      if (texts.length > 0) yield `${texts.join("\n")}\n`;
    }
  }
}

function written(record: AuditRecord, bytes: Buffer, options: ExportOptions, known: ExportContext): readonly string[] {
  const { format, withRaw = false } = options;
  switch (format) {
    case "jsonl":
      return [bytes.toString("utf8")];
    case "ocsf":
      return toOcsf(record, { ...known, withRaw }).map((it) => JSON.stringify(it));
    case "cef":
      return [toCef(record, known)];
    case "csv":
      return [toCsv(record)];
  }
}

/** The outcome of an interrupted call does not name its session; its intent did. */
function isMeant({ time, body }: AuditRecord, options: ExportOptions, known: ExportContext): boolean {
  const { session, sinceMs, untilMs } = options;
  const { callId } = body;
  const of = body.sessionId ?? (callId === undefined ? undefined : known.call(callId)?.sessionId);
  if (session !== undefined && of !== session) return false;
  const atMs = Date.parse(time);
  return (sinceMs === undefined || atMs >= sinceMs) && (untilMs === undefined || atMs < untilMs);
}

function damaged(tally: Export, place: Damage): void {
  tally.damaged += 1;
  if (tally.places.length < MAX_PLACES) tally.places.push(place);
}
