import { createReadStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { GatewayError } from "../errors.ts";
import { readTar } from "./tar.ts";

/** An image as somebody gave it: a tar archive, or a folder with the same files. Nothing in it is trusted. */
export interface GivenImage {
  /** Sizes of the regular files in bytes, by path. */
  readonly files: ReadonlyMap<string, number>;
  /** A small file. @throws GatewayError IMAGE_INVALID when it is missing or larger than `MAX_TEXT_BYTES` */
  read(path: string): Promise<Buffer>;
  /** The named files, in the order in which they lie there. */
  contents(wanted: ReadonlySet<string>): AsyncIterable<GivenFile>;
}

export interface GivenFile {
  readonly path: string;
  readonly size: number;
  readonly body: Readable;
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
  const walk = stats.isDirectory() ? () => walkFolder(path) : () => walkTar(path);
  const files = new Map<string, number>();
  let bytes = 0;
  for await (const file of walk()) {
    if (files.has(file.path)) throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds \`${file.path}\` twice`);
    files.set(file.path, file.size);
    bytes += file.size;
    if (files.size > MAX_ENTRIES || bytes > MAX_BYTES) {
      throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds more than ${MAX_ENTRIES} files or 16 GiB`);
    }
  }
  const contents = async function* (wanted: ReadonlySet<string>) {
    for await (const { path: found, size, open } of walk())
      if (wanted.has(found)) yield { path: found, size, body: open() };
  };
  return {
    files,
    contents,
    async read(name) {
      if ((files.get(name) ?? Number.POSITIVE_INFINITY) > MAX_TEXT_BYTES) {
        throw new GatewayError("IMAGE_INVALID", `\`${path}\` has no file \`${name}\` of a sensible size`);
      }
      for await (const { body } of contents(new Set([name]))) return buffer(body);
      throw new GatewayError("IMAGE_INVALID", `\`${name}\` went away while \`${path}\` was read`);
    },
  };
}

interface FoundFile {
  readonly path: string;
  readonly size: number;
  readonly open: () => Readable;
}

async function* walkTar(path: string): AsyncGenerator<FoundFile> {
  let entries = 0;
  try {
    for await (const { path: name, header, body } of readTar(path, new AbortController().signal)) {
      entries += 1;
      if (header.type === "directory") continue;
      if (header.type !== "file") {
        throw new GatewayError(
          "IMAGE_INVALID",
          `\`${path}\` holds a ${header.type}: save the image anew with Docker 25 or newer`,
        );
      }
      if (name.split("/").includes("..") || name.includes("\0")) {
        throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds a file outside of itself`);
      }
      yield { path: name, size: header.size ?? 0, open: () => body };
    }
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    throw new GatewayError("IMAGE_INVALID", `\`${path}\` is not a whole tar archive`, { cause });
  }
  if (entries === 0) throw new GatewayError("IMAGE_INVALID", `\`${path}\` is not a tar archive, or an empty one`);
}

async function* walkFolder(path: string): AsyncGenerator<FoundFile> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) continue;
    if (!entry.isFile()) throw new GatewayError("IMAGE_INVALID", `\`${file}\` is neither a file nor a folder`);
    yield { path: relative(path, file), size: (await lstat(file)).size, open: () => createReadStream(file) };
  }
}
