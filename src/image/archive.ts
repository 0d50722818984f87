import { createReadStream } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { GatewayError } from "../errors.ts";
import { readTar, tarFile } from "./tar.ts";

/** An image as somebody gave it: a tar archive, or a folder with the same files. Nothing in it is trusted. */
export interface GivenImage {
  /** The regular files by path. */
  readonly files: ReadonlyMap<string, GivenFile>;
  /** A small file. @throws GatewayError IMAGE_INVALID when it is missing or larger than `MAX_TEXT_BYTES` */
  read(path: string): Promise<Buffer>;
}

export interface GivenFile {
  readonly path: string;
  readonly size: number;
  open(): Readable;
}

const MAX_BYTES = 16 * 1024 ** 3;
const MAX_ENTRIES = 10_000;
const MAX_TEXT_BYTES = 4 * 1024 ** 2;

/** @throws GatewayError IMAGE_INVALID */
export async function openGivenImage(path: string): Promise<GivenImage> {
  const stats = await lstat(path).catch((cause: unknown) => {
    throw new GatewayError("IMAGE_INVALID", `cannot read \`${path}\``, { cause });
  });
  if (!stats.isDirectory() && !stats.isFile()) {
    throw new GatewayError("IMAGE_INVALID", `\`${path}\` is neither a file nor a folder`);
  }
  const files = new Map<string, GivenFile>();
  let bytes = 0;
  for await (const file of stats.isDirectory() ? walkFolder(path) : walkTar(path)) {
    if (files.has(file.path)) throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds \`${file.path}\` twice`);
    files.set(file.path, file);
    bytes += file.size;
    if (files.size > MAX_ENTRIES || bytes > MAX_BYTES) {
      throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds more than ${MAX_ENTRIES} files or 16 GiB`);
    }
  }
  if (files.size === 0) throw new GatewayError("IMAGE_INVALID", `\`${path}\` is empty`);
  return {
    files,
    read: async (name) => {
      const file = files.get(name);
      if (file && file.size <= MAX_TEXT_BYTES) return buffer(file.open());
      throw new GatewayError("IMAGE_INVALID", `\`${path}\` has no file \`${name}\` of a sensible size`);
    },
  };
}

async function* walkTar(archive: string): AsyncGenerator<GivenFile> {
  await using file = await open(archive);
  for await (const { path, type, size, offset } of readTar(tarFile(file))) {
    if (type === "directory") continue;
    if (type !== "file") {
      const why = `\`${archive}\` holds a ${type}: save the image anew with Docker 25 or newer`;
      throw new GatewayError("IMAGE_INVALID", why);
    }
    if (path.split("/").includes("..") || path.includes("\0")) {
      throw new GatewayError("IMAGE_INVALID", `\`${archive}\` holds a file outside of itself`);
    }
    yield { path, size, open: () => rangeOf(archive, offset, size) };
  }
}

async function* walkFolder(folder: string): AsyncGenerator<GivenFile> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) continue;
    if (!entry.isFile()) throw new GatewayError("IMAGE_INVALID", `\`${path}\` is neither a file nor a folder`);
    const { size } = await lstat(path);
    yield { path: relative(folder, path), size, open: () => rangeOf(path, 0, size) };
  }
}

function rangeOf(path: string, offset: number, size: number): Readable {
  if (size === 0) return Readable.from([]);
  // `end` is the last byte.
  return createReadStream(path, { start: offset, end: offset + size - 1, highWaterMark: 1 << 20 });
}
