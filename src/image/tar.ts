import { createReadStream, createWriteStream } from "node:fs";
import { chmod, mkdir, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Header } from "tar-stream";

export interface TarEntry {
  /** Path without `./` or a leading or trailing slash; empty for the root itself. */
  readonly path: string;
  readonly header: Header;
  readonly body: Readable;
}

/** The entries of a tar archive in their order. The body of one is skipped when the next is asked for. */
export async function* readTar(file: string, signal: AbortSignal): AsyncGenerator<TarEntry> {
  const source = createReadStream(file, { highWaterMark: 1 << 20 });
  const entries = extract();
  source.once("error", (error) => entries.destroy(error));
  source.pipe(entries);
  try {
    for await (const entry of entries) {
      signal.throwIfAborted();
      yield { path: plainPath(entry.header.name), header: entry.header, body: entry as unknown as Readable };
      entry.resume();
    }
  } finally {
    source.destroy();
  }
}

export function plainPath(name: string): string {
  return name
    .replace(/^(\.?\/)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "");
}

/**
 * Unpacks the files and symbolic links that `wanted` picks, as this user's. For archives made by ourselves from signed
 * packages: links are made as they are.
 */
export async function unpack(
  file: string,
  directory: string,
  wanted: (path: string) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const { path, header, body } of readTar(file, signal)) {
    if (!wanted(path) || (header.type !== "file" && header.type !== "symlink" && header.type !== "link")) continue;
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true });
    await rm(target, { force: true });
    if (header.type === "file") {
      await pipeline(body, createWriteStream(target));
      await chmod(target, (header.mode ?? 0) & 0o111 ? 0o755 : 0o644);
    } else if (header.type === "symlink" && header.linkname) {
      await symlink(header.linkname, target);
    }
  }
}
