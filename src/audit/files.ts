import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { isMissing } from "../lib/error.ts";
import { MAX_LINE_BYTES } from "./line.ts";

/*
 * <audit directory>/<chain id>/lock            held by the gateway that writes the chain
 *                             /head            where the chain stands, for finding a truncated end
 *                             /000001.jsonl …  segments, one record a line
 *                             /*.torn          bytes that recovery moved aside
 */
export const LOCK_FILE = "lock";
export const HEAD_FILE = "head";
const CHAIN_NAME = /^chain-[0-9a-z]{9}[0-9a-f]{16}$/;
const SEGMENT_NAME = /^(\d{6,15})\.jsonl$/;
const READ_BYTES = 256 * 1024;

export function isChainName(name: string): boolean {
  return CHAIN_NAME.test(name);
}

export function segmentName(number: number): string {
  return `${String(number).padStart(6, "0")}.jsonl`;
}

/** The number in a segment's name; undefined for any other name. */
export function segmentNumber(name: string): number | undefined {
  const number = Number(SEGMENT_NAME.exec(name)?.[1]);
  return number >= 1 && segmentName(number) === name ? number : undefined;
}

/** Names of the chains in an audit directory, oldest first. An audit directory that isn't there has none. */
export async function listChains(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter(isChainName).sort();
}

/** Numbers of a chain's segments, ascending. */
export async function listSegments(chainDirectory: string): Promise<number[]> {
  const numbers = (await readdir(chainDirectory)).map(segmentNumber).filter((it) => it !== undefined);
  return numbers.sort((a, b) => a - b);
}

/** Never through a symbolic link: another file's content is not the log's. */
export async function openForReading(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
}

/** Makes created, renamed and removed names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}

export interface Line {
  /** Without the newline; of one over MAX_LINE_BYTES, the first MAX_LINE_BYTES + 1. */
  readonly bytes: Buffer;
  /** From 1. */
  readonly number: number;
  /** Where it begins in the file. */
  readonly offset: number;
  /** Where the next one does. */
  readonly end: number;
  /** False for what stands behind the last newline of the file. */
  readonly terminated: boolean;
}

/**
 * The lines of a file from `start` (a line's beginning) on, a block's worth at a time, up to where it ends when it is read.
 * Memory: a block and a line, whatever is in the file.
 */
export async function* readLines(path: string, start = 0): AsyncGenerator<Line[]> {
  await using file = await openForReading(path);
  let position = start;
  let offset = start;
  let number = 1;
  let rest: Buffer = Buffer.alloc(0);
  // Of a line that is too long, bytes that were read and dropped.
  let dropped = 0;
  for (;;) {
    const block = Buffer.allocUnsafe(READ_BYTES);
    const { bytesRead } = await file.read(block, 0, READ_BYTES, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    const data = rest.length === 0 ? block.subarray(0, bytesRead) : Buffer.concat([rest, block.subarray(0, bytesRead)]);
    const lines: Line[] = [];
    let from = 0;
    for (let newline = data.indexOf(10); newline !== -1; newline = data.indexOf(10, from)) {
      const bytes = data.subarray(from, Math.min(newline, from + MAX_LINE_BYTES + 1));
      const end = offset + newline + 1 - from + dropped;
      lines.push({ bytes, number: number++, offset, end, terminated: true });
      offset = end;
      dropped = 0;
      from = newline + 1;
    }
    rest = data.subarray(from, from + MAX_LINE_BYTES + 1);
    dropped += data.length - from - rest.length;
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [{ bytes: rest, number, offset, end: position, terminated: false }];
}

/** As `readLines`; none of a file that is not there: old segments may be removed for their age since they were listed. */
export async function* readLinesIfAny(path: string, start = 0): AsyncGenerator<Line[]> {
  try {
    yield* readLines(path, start);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/**
 * Where the last `count` lines of a file begin, its unterminated end not counted; at most `maxBytes` are looked at.
 * `found` is how many there are from there on, `bytes` how long they are.
 */
export async function findLastLines(
  path: string,
  count: number,
  maxBytes: number,
): Promise<{ offset: number; found: number; bytes: number }> {
  await using file = await openForReading(path);
  const { size } = await file.stat();
  const floor = Math.max(0, size - maxBytes);
  let newlines = 0;
  // Just behind the earliest newline that was seen.
  let begin = size;
  for (let end = size; end > floor; ) {
    const from = Math.max(floor, end - READ_BYTES);
    const block = Buffer.allocUnsafe(end - from);
    const { bytesRead } = await file.read(block, 0, block.length, from);
    const data = block.subarray(0, bytesRead);
    for (let at = data.lastIndexOf(10); at !== -1; at = at === 0 ? -1 : data.lastIndexOf(10, at - 1)) {
      if (newlines === count) return { offset: from + at + 1, found: count, bytes: size - from - at - 1 };
      newlines++;
      begin = from + at + 1;
    }
    end = from;
  }
  if (floor === 0) return { offset: 0, found: newlines, bytes: size };
  return { offset: begin, found: Math.max(0, newlines - 1), bytes: size - begin };
}
