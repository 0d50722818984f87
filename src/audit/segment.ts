import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { GatewayError } from "../errors.ts";
import { syncDirectory } from "./files.ts";

const BLOCK_BYTES = 256 * 1024;
/** At the end wherever that is, so that a file which somebody else cut short has another size afterwards than it should. */
const APPENDING = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;

/** What is known of a segment's content. */
export interface SegmentEnd {
  /** Up to here every record is sound; what is behind is cut off when the file is opened. */
  readonly durableBytes: number;
  /** Up to here a sync has succeeded; what is between here and `durableBytes` is written anew. */
  readonly syncedBytes: number;
  /** The last record with its newline; empty when there is none. */
  readonly lastLine: Buffer;
}

/**
 * The segment that is being written. A write or sync that fails leaves nothing behind that is trusted: the next append opens
 * the file again, cuts it back to the last record that is on disk, and writes that one anew, because after a failed sync the
 * kernel may call pages clean that never reached the disk. While that fails, every append does.
 */
export class Segment implements AsyncDisposable {
  readonly path: string;
  #end: SegmentEnd;
  /** Undefined while what is behind `durableBytes` is not known. */
  #file: FileHandle | undefined;

  private constructor(path: string, end: SegmentEnd, file: FileHandle) {
    this.path = path;
    this.#end = end;
    this.#file = file;
  }

  /** Continues a segment. */
  static async open(path: string, end: SegmentEnd): Promise<Segment> {
    return new Segment(path, end, await openBackTo(path, end));
  }

  /** Makes a new one. An empty file in its place is what an earlier attempt left. */
  static async create(path: string): Promise<Segment> {
    const file = await open(path, APPENDING | constants.O_CREAT, 0o600);
    try {
      if ((await file.stat()).size > 0) throw changed("a segment that should be new is not empty");
      await syncDirectory(dirname(path));
    } catch (error) {
      await file.close();
      throw error;
    }
    return new Segment(path, { durableBytes: 0, syncedBytes: 0, lastLine: Buffer.alloc(0) }, file);
  }

  get bytes(): number {
    return this.#end.durableBytes;
  }

  /** Writes whole records, the last of them `lastLine`; when it resolves they are on disk, when it rejects none is in the log. */
  async append(records: Buffer, lastLine: Buffer): Promise<void> {
    const file = this.#file ?? (await openBackTo(this.path, this.#end));
    this.#file = undefined;
    const end = this.#end.durableBytes + records.length;
    try {
      await writeAll(file, records, null);
      const [{ nlink, size }] = await Promise.all([file.stat(), file.datasync()]);
      if (nlink === 0 || size !== end) throw changed("the file was removed or changed by something else");
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    this.#end = { durableBytes: end, syncedBytes: end, lastLine };
  }

  /** Cuts off what a failed append left, so that another segment may follow this one. */
  async settle(): Promise<void> {
    this.#file ??= await openBackTo(this.path, this.#end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

async function openBackTo(path: string, { durableBytes, syncedBytes, lastLine }: SegmentEnd): Promise<FileHandle> {
  // Opened first: it sees every write error from here on.
  const appending = await open(path, APPENDING);
  try {
    await using file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
    const { size } = await file.stat();
    if (size < durableBytes) throw changed("it is shorter than it was");
    if (size > durableBytes) await file.truncate(durableBytes);
    const tail = Buffer.alloc(lastLine.length);
    await file.read(tail, 0, tail.length, durableBytes - tail.length);
    if (!tail.equals(lastLine)) throw changed("its last record is not the one that was written");
    await rewrite(file, Math.min(syncedBytes, durableBytes - lastLine.length), durableBytes);
    await file.sync();
    return appending;
  } catch (error) {
    await appending.close();
    throw error;
  }
}

/** Writes the same bytes again, so that a sync has to bring them to the disk. */
async function rewrite(file: FileHandle, from: number, to: number): Promise<void> {
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, to - from));
  for (let at = from; at < to; ) {
    const { bytesRead } = await file.read(block, 0, Math.min(block.length, to - at), at);
    if (bytesRead === 0) throw changed("it ended while it was read");
    await writeAll(file, block.subarray(0, bytesRead), at);
    at += bytesRead;
  }
}

/** @param position null: at the end */
async function writeAll(file: FileHandle, bytes: Buffer, position: number | null): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const at = position === null ? null : position + done;
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at);
    if (bytesWritten === 0) throw changed("nothing was written");
    done += bytesWritten;
  }
}

function changed(what: string): GatewayError {
  return new GatewayError("AUDIT_UNWRITABLE", `the audit log cannot be written: ${what}`);
}
