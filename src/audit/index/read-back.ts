import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { openForReading, segmentName } from "../files.ts";
import { MAX_LINE_BYTES, readLine } from "../line.ts";
import type { Entry } from "../read.ts";

/** Where a record's line stands, without its newline. */
export interface LinePlace {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** A line's place in the log, and the hash of the record that stood there when it was indexed. */
export interface Pointer extends LinePlace {
  readonly chain: string;
  /** Hexadecimal. */
  readonly hash: string;
}

/** The record as the log has it now; `gone` when there is nothing at its place, `differs` when it is not the one that was indexed. */
export type ReadBack = Entry | { readonly problem: "gone" | "differs" };

/** Reads a record from the log and checks it: nothing that is shown comes from the index. */
export async function readBack(auditDirectory: string, { chain, hash, ...place }: Pointer): Promise<ReadBack> {
  const line = await lineAt(join(auditDirectory, chain), place);
  if (line === undefined) return { problem: "gone" };
  const read = readLine(line);
  if (!read.sound || read.record.hash !== hash) return { problem: "differs" };
  return { record: read.record, text: line.toString("utf8") };
}

/** What stands there; `undefined` when the file does not reach so far, or is not there. */
export async function lineAt(
  chainDirectory: string,
  { segment, offset, length }: LinePlace,
): Promise<Buffer | undefined> {
  if (length > MAX_LINE_BYTES) return undefined;
  try {
    await using file = await openForReading(join(chainDirectory, segmentName(segment)));
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await file.read(bytes, 0, length, offset);
    return bytesRead === length ? bytes : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
