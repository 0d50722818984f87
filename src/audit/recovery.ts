import { createHash } from "node:crypto";
import { open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { type CallContext, trackCalls } from "./calls.ts";
import { continuity } from "./continuity.ts";
import { findLastLines, listSegments, openForReading, readLines, segmentName, syncDirectory } from "./files.ts";
import { createHead, readHead } from "./head.ts";
import { GENESIS_HASH, MAX_LINE_BYTES, type Position, readLine } from "./line.ts";
import type { SegmentEnd } from "./segment.ts";
import { type Beginning, readBeginning, sealedIn } from "./truncate/beginning.ts";
import { readSeal } from "./truncate/seal.ts";

const COPY_BYTES = 256 * 1024;

/** Bytes that a crash left behind the last whole record, moved aside. */
export interface Torn {
  readonly segment: string;
  /** The file beside the segment that holds them now. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Where a chain is to be continued. */
export interface Recovered {
  /** The segment to write; not made yet when `end` is undefined. */
  readonly segment: number;
  readonly end?: SegmentEnd;
  readonly position: Position;
  /** Permitted calls of dead gateways that have no outcome. */
  readonly openCalls: ReadonlyMap<string, CallContext>;
  /** The segment that says up to where the chain's beginning was removed; undefined where none was. */
  readonly sealedIn?: number;
  /** When the segment's first record was written; milliseconds since 1970. */
  readonly begunMs?: number;
  readonly torn?: Torn;
}

/**
 * Finds where a chain ends, and repairs what a crash leaves: half a record at the very end is moved aside, a segment that
 * was made and never written is removed. Reads the last segment and one record of the one before, whatever the log's size.
 * The caller holds the chain's lock.
 * @throws GatewayError AUDIT_CORRUPT on any other damage, with its place; nothing is changed then
 */
export async function recoverChain(directory: string, chain: string): Promise<Recovered> {
  const numbers = await listSegments(directory);
  const last = numbers.at(-1);
  if (last === undefined) return await startChain(directory, chain);
  const beginning = await readBeginning(directory, chain, numbers);

  const head = await readHead(directory);
  if (typeof head === "string") throw corrupt(chain, `head is ${head}`);
  const tail = await readTail(directory, chain, last, { head, beginning });
  // The gateway died between making a segment and writing it: the one before goes on.
  const unwritten = tail.records === 0 && last > beginning.segment;
  const found = unwritten ? await readTail(directory, chain, last - 1, { head, beginning }) : tail;
  if (unwritten && found.torn) throw corrupt(chain, `${segmentName(last - 1)} does not end with a whole record`);
  if (head.seq > found.position.seq) {
    const { seq } = found.position;
    throw corrupt(chain, `it ends at record ${seq} and had reached ${head.seq}: its end was cut off or damaged`);
  }
  if (!found.headSeen) throw corrupt(chain, `head names a record ${head.seq} that is not the log's`);

  const torn = tail.torn && (await moveAside(directory, segmentName(last), tail.torn.offset));
  if (unwritten) {
    await unlink(join(directory, segmentName(last)));
    await syncDirectory(directory);
  }
  const { end, position, openCalls, sealedIn, begunMs } = found;
  return {
    segment: unwritten ? last - 1 : last,
    end,
    position,
    openCalls,
    ...(sealedIn !== undefined && { sealedIn }),
    ...(begunMs !== undefined && { begunMs }),
    ...(torn ? { torn } : {}),
  };
}

async function startChain(directory: string, chain: string): Promise<Recovered> {
  // A head that can't be read is one whose making was cut short.
  const head = await readHead(directory);
  if (typeof head !== "string" && head.seq >= 0) throw corrupt(chain, `${segmentName(1)} is missing`);
  await createHead(directory);
  return { segment: 1, position: { seq: -1, hash: GENESIS_HASH }, openCalls: new Map() };
}

interface Tail {
  readonly records: number;
  readonly position: Position;
  readonly end: SegmentEnd;
  readonly openCalls: ReadonlyMap<string, CallContext>;
  readonly sealedIn: number | undefined;
  readonly begunMs: number | undefined;
  /** Whether the record that the head names is in the segment, or is the one before it. */
  readonly headSeen: boolean;
  readonly torn: { readonly offset: number } | undefined;
}

async function readTail(
  directory: string,
  chain: string,
  number: number,
  { head, beginning }: { readonly head: Position; readonly beginning: Beginning },
): Promise<Tail> {
  const name = segmentName(number);
  const before = number === beginning.segment ? beginning.before : await lastPosition(directory, chain, number - 1);
  const chainState = continuity(chain, before);
  const openCalls = new Map<string, CallContext>();
  let records = 0;
  let durableBytes = 0;
  let syncedBytes = 0;
  let lastLine: Buffer = Buffer.alloc(0);
  let sealed: number | undefined;
  let begunMs: number | undefined;
  let headSeen = head.seq === before.seq && head.hash === before.hash;
  let broken: { offset: number; repairable: boolean; message: string; line: number } | undefined;
  for await (const lines of readLines(join(directory, name))) {
    for (const line of lines) {
      if (broken) throw corrupt(chain, `${name}, line ${broken.line}: ${broken.message}`);
      if (!line.terminated) {
        broken = { offset: line.offset, repairable: true, message: "not a whole line", line: line.number };
        continue;
      }
      const { record, findings } = chainState.check(readLine(line.bytes));
      const [finding] = findings;
      if (finding) {
        const { kind, message } = finding;
        broken = { offset: line.offset, repairable: kind === "syntax", message, line: line.number };
      } else if (record) {
        records += 1;
        begunMs ??= Date.parse(record.time);
        trackCalls(openCalls, record.body);
        sealed = readSeal(record) ? number : (sealed ?? sealedIn(record));
        lastLine = Buffer.concat([line.bytes, Buffer.from("\n")]);
        durableBytes = line.offset + lastLine.length;
        if (record.seq === head.seq && record.hash === head.hash) {
          headSeen = true;
          syncedBytes = durableBytes;
        }
      }
    }
  }
  if (broken && !broken.repairable) throw corrupt(chain, `${name}, line ${broken.line}: ${broken.message}`);
  const position = records === 0 ? before : chainState.position;
  const end = { durableBytes, syncedBytes, lastLine };
  const torn = broken && { offset: broken.offset };
  return { records, position, end, openCalls, sealedIn: sealed, begunMs, headSeen, torn };
}

/** The last record of a segment that is followed by another. */
async function lastPosition(directory: string, chain: string, number: number): Promise<Position> {
  const path = join(directory, segmentName(number));
  const { offset } = await findLastLines(path, 1, MAX_LINE_BYTES + 1);
  let position: Position | undefined;
  for await (const lines of readLines(path, offset)) {
    for (const line of lines) {
      const read = readLine(line.bytes);
      position = read.sound && line.terminated ? read.record : undefined;
    }
  }
  if (!position) throw corrupt(chain, `${segmentName(number)} does not end with a whole record`);
  return { seq: position.seq, hash: position.hash };
}

/** Keeps the bytes from `offset` on in a file of their own; the segment itself is cut when it is opened for writing. */
async function moveAside(directory: string, segment: string, offset: number): Promise<Torn> {
  const part = join(directory, `${segment}.torn.part`);
  const digest = createHash("sha256");
  let bytes = 0;
  {
    await using source = await openForReading(join(directory, segment));
    await using target = await open(part, "w", 0o600);
    const block = Buffer.allocUnsafe(COPY_BYTES);
    for (;;) {
      const { bytesRead } = await source.read(block, 0, block.length, offset + bytes);
      if (bytesRead === 0) break;
      const read = block.subarray(0, bytesRead);
      digest.update(read);
      await target.appendFile(read);
      bytes += bytesRead;
    }
    await target.sync();
  }
  const sha256 = digest.digest("hex");
  const file = `${segment}.${sha256.slice(0, 16)}.torn`;
  await rename(part, join(directory, file));
  await syncDirectory(directory);
  return { segment, file, bytes, sha256 };
}

function corrupt(chain: string, what: string): GatewayError {
  return new GatewayError("AUDIT_CORRUPT", `the audit log does not verify: ${chain}: ${what}`);
}
