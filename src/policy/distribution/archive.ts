import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import { type BundleFiles, isBundleFile, MAX_FILE_BYTES, MAX_FILES, sorted } from "../read-files.ts";

export const MAX_ARCHIVE_BYTES = 16 * 1024 * 1024;

const unzip = promisify(gunzip);

/**
 * The files at the root of a `.tar` or `.tar.gz`, sorted by name. Nothing but a bundle's files may be in it.
 * @throws GatewayError POLICY_FETCH_FAILED
 */
export async function filesInArchive(archive: Buffer): Promise<BundleFiles> {
  const tar = await plain(archive);
  const files = new Map<string, Buffer>();
  const parser = extract();
  parser.end(tar);
  try {
    for await (const entry of parser) {
      const name = nameOf(entry.header);
      // `tar -C bundle .` begins with the folder itself.
      if (entry.header.type === "directory" && (name === "" || name === ".")) {
        entry.resume();
        continue;
      }
      requireFit(entry.header, name, files);
      files.set(name, await contentOf(entry as AsyncIterable<Buffer>));
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw broken("it can't be read as a tar", error);
  } finally {
    parser.destroy();
  }
  if (files.size === 0) throw broken("it is empty");
  return sorted(files);
}

/** @throws GatewayError POLICY_FETCH_FAILED for an entry that a bundle can't have */
function requireFit({ type, size = 0 }: Header, name: string, before: BundleFiles): void {
  const shown = `\`${printable(name, 200)}\``;
  if (!isBundleFile(name)) throw broken(`${shown} does not belong into a bundle; its files lie at the archive's root`);
  if (type !== "file") throw broken(`${shown} is not a regular file`);
  if (before.has(name)) throw broken(`${shown} is in it twice`);
  if (before.size >= MAX_FILES) throw broken(`it has more than ${MAX_FILES} files`);
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_FILE_BYTES) {
    throw broken(`${shown} is larger than ${MAX_FILE_BYTES} bytes`);
  }
}

function nameOf({ name, type }: Header): string {
  const rest = name.startsWith("./") ? name.slice(2) : name;
  return type === "directory" && rest.endsWith("/") ? rest.slice(0, -1) : rest;
}

async function contentOf(entry: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function plain(archive: Buffer): Promise<Buffer> {
  if (archive.length > MAX_ARCHIVE_BYTES) throw tooLarge();
  if (archive[0] !== 0x1f || archive[1] !== 0x8b) return archive;
  try {
    return await unzip(archive, { maxOutputLength: MAX_ARCHIVE_BYTES });
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge();
    throw broken("it can't be unpacked", error);
  }
}

function tooLarge(): GatewayError {
  return broken(`it is larger than ${MAX_ARCHIVE_BYTES} bytes`);
}

function broken(problem: string, cause?: unknown): GatewayError {
  return new GatewayError("POLICY_FETCH_FAILED", `the bundle's archive can't be used: ${problem}`, { cause });
}
