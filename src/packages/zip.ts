import type { FileHandle } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from "yauzl";
import { GatewayError } from "../errors.ts";
import { bytesOf } from "./cache/file-bytes.ts";

/** What a zip may hold, whatever it says of itself. */
export interface ZipLimits {
  readonly entries: number;
  /** Of all contents together, unpacked. */
  readonly bytes: number;
  /** Of the failure. */
  readonly code: "REGISTRY_MALFORMED" | "ADVISORIES_INVALID";
}

export interface ZipEntry {
  /** As it stands in the zip: not decoded, not checked, no path to write to. */
  readonly name: Buffer;
  /** Unpacked, in bytes. */
  readonly size: number;
  /** What it holds: exactly `size` bytes, whose CRC is right at the end. To be read before the next entry is asked for. */
  content(): AsyncGenerator<Buffer>;
}

/** How many times larger than the zip its contents may be, over the first 16 MiB. */
const RATIO = 200;
const FREE_BYTES = 16 * 1024 ** 2;
/** Of all names together, for each entry that there may be. */
const NAME_BYTES = 160;
/** Up to here an entry is unpacked in one piece, which is much faster. */
const ONE_PIECE_BYTES = 1024 ** 2;

/**
 * The entries of a zip in the order of its directory. Nothing is written anywhere; memory is a piece of one entry.
 * @throws GatewayError `limits.code` for what is no zip, is damaged or encrypted, or is over a limit
 */
export async function* readZip(file: FileHandle, limits: ZipLimits): AsyncGenerator<ZipEntry> {
  const { size } = await file.stat();
  const left = {
    entries: limits.entries,
    names: NAME_BYTES * limits.entries,
    bytes: Math.min(limits.bytes, FREE_BYTES + RATIO * size),
  };
  try {
    const zip = await fromRandomAccessReaderPromise(new FileReader(file), size, {
      autoClose: false,
      decodeStrings: false,
    });
    for await (const entry of zip.eachEntry()) {
      left.entries -= 1;
      left.names -= entry.fileNameRaw.length;
      left.bytes -= entry.uncompressedSize;
      if (left.entries < 0 || left.names < 0) throw malformed(limits, "has too many entries");
      if (left.bytes < 0) throw malformed(limits, "unpacks to more than it may");
      if (!entry.canDecodeFileData()) throw malformed(limits, "is encrypted, or compressed in an unusual way");
      const content = () => contentOf(zip, file, entry, limits);
      yield { name: entry.fileNameRaw, size: entry.uncompressedSize, content };
    }
  } catch (error) {
    throw error instanceof GatewayError ? error : malformed(limits, "cannot be read", error);
  }
}

function malformed({ code }: ZipLimits, why: string, cause?: unknown): GatewayError {
  return new GatewayError(code, `a zip ${why}`, { cause });
}

async function* contentOf(zip: ZipFile, file: FileHandle, entry: Entry, limits: ZipLimits): AsyncGenerator<Buffer> {
  let crc = 0;
  let left = entry.uncompressedSize;
  try {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    const packed = bytesOf(file, fileDataStart, fileDataStart + entry.compressedSize);
    for await (const piece of entry.isCompressed() ? unpack(packed, entry) : packed) {
      left -= piece.length;
      if (left < 0) break;
      crc = crc32(piece, crc);
      yield piece;
    }
  } catch (error) {
    throw malformed(limits, "is damaged", error);
  }
  if (left !== 0 || crc !== entry.crc32) throw malformed(limits, "is damaged");
}

async function* unpack(packed: AsyncIterable<Buffer>, entry: Entry): AsyncGenerator<Buffer> {
  if (Math.max(entry.compressedSize, entry.uncompressedSize) <= ONE_PIECE_BYTES) {
    const pieces = await Array.fromAsync(packed);
    // One byte more than there should be is enough to see that there is more.
    yield inflateRawSync(Buffer.concat(pieces), { maxOutputLength: entry.uncompressedSize + 1 });
    return;
  }
  // Whoever reads what comes out gets the failure too.
  yield* pipeline(Readable.from(packed), createInflateRaw(), () => undefined);
}

/** A file that others have opened, and close. */
class FileReader extends RandomAccessReader {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead: number) => void,
  ): void {
    this.#file.read(buffer, offset, length, position).then(
      ({ bytesRead }) => callback(null, bytesRead),
      (error: Error) => callback(error, 0),
    );
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(bytesOf(this.#file, start, end), { objectMode: false });
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }
}
