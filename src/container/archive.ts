import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Header, pack } from "tar-stream";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { Entry } from "./container.ts";

/** Tar headers before a file's content, its padding and the archive's end; more is not the archive of one file. */
const MAX_OVERHEAD_BYTES = 65_536;

const statSchema = z.object({
  size: z.int().min(0),
  mode: z.int().min(0).max(0xffff_ffff),
  mtime: z.iso.datetime({ offset: true }),
  linkTarget: z.string().max(4096),
});

/** Go's `fs.FileMode` bits. */
const GO_DIRECTORY = 0x8000_0000;
const GO_LINK = 0x0800_0000;
const GO_TYPE = 0x8f28_0000;

/** What the engine says of the entry at `path`: base64 of JSON, in a header. @throws GatewayError CHANNEL_VIOLATION */
export function readStat(path: string, header: string): Entry {
  let stat: z.infer<typeof statSchema>;
  try {
    stat = statSchema.parse(JSON.parse(Buffer.from(header, "base64").toString()));
  } catch (cause) {
    throw new GatewayError("CHANNEL_VIOLATION", "the engine's description of a file can't be read", { cause });
  }
  const type = (stat.mode & GO_TYPE) >>> 0;
  const kind = type === 0 ? "file" : type === GO_DIRECTORY ? "directory" : type === GO_LINK ? "link" : "other";
  return {
    path,
    kind,
    sizeBytes: stat.size,
    mode: stat.mode & 0o777,
    modifiedMs: Date.parse(stat.mtime),
    ...(kind === "link" && { target: printable(stat.linkTarget) }),
  };
}

/**
 * The content of the one regular file that the archive must hold. No more is read than that file and a little.
 * @throws GatewayError NOT_A_FILE, PATH_IS_LINK, FILE_TOO_LARGE, CONTAINER_FAILED, CHANNEL_VIOLATION
 */
export async function fileInArchive(archive: Readable, name: string, maxBytes: number): Promise<Buffer> {
  const parser = extract();
  let content: Buffer | undefined;
  const read = async () => {
    for await (const entry of parser) {
      if (content) throw new GatewayError("CHANNEL_VIOLATION", "the engine sent more than the one file");
      content = Buffer.alloc(checkedSize(entry.header, name, maxBytes));
      let filled = 0;
      for await (const chunk of entry as AsyncIterable<Buffer>) filled += chunk.copy(content, filled);
    }
  };
  const capped = async function* (source: AsyncIterable<Buffer>) {
    let passed = 0;
    for await (const chunk of source) {
      if (passed > (content?.length ?? 0) + MAX_OVERHEAD_BYTES) {
        throw new GatewayError("CHANNEL_VIOLATION", "the engine sent more than the one file");
      }
      passed += chunk.length;
      yield chunk;
    }
  };
  const [fed, taken] = await Promise.allSettled([pipeline(archive, capped, parser), read()]);
  // What the reader threw also breaks the feeding, and the other way round; the reader's own is the more telling.
  if (taken.status === "rejected") throw parserFailure(taken.reason);
  if (fed.status === "rejected") throw parserFailure(fed.reason);
  if (!content) throw unsteady();
  return content;
}

function checkedSize(header: Header, name: string, maxBytes: number): number {
  const { size } = header;
  if (header.type === "symlink") throw new GatewayError("PATH_IS_LINK", "the file has become a symbolic link");
  if (header.type !== "file") throw new GatewayError("NOT_A_FILE", "the path is not a regular file");
  if (header.name !== name) throw new GatewayError("CHANNEL_VIOLATION", "the engine sent another file");
  if (!Number.isSafeInteger(size) || size < 0) throw new GatewayError("CHANNEL_VIOLATION", "the file has no size");
  if (size > maxBytes) throw tooLarge(size, maxBytes);
  return size;
}

export function tooLarge(sizeBytes: number, maxBytes: number): GatewayError {
  return new GatewayError("FILE_TOO_LARGE", `the file has ${sizeBytes} bytes; at most ${maxBytes} can be read`);
}

/** tar-stream's errors are told apart by their text alone; the connection's have a code. */
export function parserFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError || "code" in error) return error;
  if (error.message === "Unexpected end of data") return unsteady(error);
  return new GatewayError("CHANNEL_VIOLATION", "the engine sent an archive that can't be read", { cause: error });
}

function unsteady(cause?: unknown): GatewayError {
  return new GatewayError("CONTAINER_FAILED", "the file changed while it was read", { cause });
}

interface Packed {
  readonly name: string;
  readonly mode: number;
  readonly owner: number;
  /** A directory when absent. */
  readonly content?: Buffer;
}

/** A tar of these entries, in this order; user and group are alike. */
export function archiveOf(entries: readonly Packed[]): Readable {
  const archive = pack();
  for (const { name, mode, owner, content } of entries) {
    const header = { name, mode, uid: owner, gid: owner };
    if (content) archive.entry({ ...header, type: "file", size: content.length }, content);
    else archive.entry({ ...header, type: "directory" });
  }
  archive.finalize();
  return Readable.from(archive, { objectMode: false });
}
