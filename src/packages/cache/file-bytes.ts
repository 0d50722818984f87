import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { GatewayError } from "../../errors.ts";

const PIECE_BYTES = 256 * 1024;

/** The bytes of a file from `start` up to before `end`, or up to where it ends. The file's own position is not moved. */
export async function* bytesOf(file: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

/**
 * A stream of a file that has been hashed before, which closes the file at its end. It is hashed once more on the way, and its last piece
 * held back until then: should somebody write into the file meanwhile, the stream breaks off and no reader takes it for whole.
 */
export function readChecked(file: FileHandle, sizeBytes: number, sha256: string): Readable {
  const stream = Readable.from(checkedPieces(file, sizeBytes, sha256), { objectMode: false });
  // A failure to close has nobody to tell: the content was read.
  return stream.once("close", () => void file.close().catch(() => undefined));
}

async function* checkedPieces(file: FileHandle, sizeBytes: number, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  let held: Buffer | undefined;
  for await (const piece of bytesOf(file, 0, sizeBytes)) {
    hash.update(piece);
    if (held) yield held;
    held = piece;
  }
  if (hash.digest("hex") !== sha256)
    throw new GatewayError("INTERNAL", "a file of the package cache was changed while it was read");
  if (held) yield held;
}
