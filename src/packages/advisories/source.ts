import { constants } from "node:fs";
import { type FileHandle, open, opendir, stat } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { printable, utf8 } from "../../lib/text.ts";
import { readZip, type ZipLimits } from "../zip.ts";

/** A file that should hold one OSV record. */
export interface RecordText {
  /** For a message. */
  readonly name: string;
  /** `undefined` when it is too large, or no UTF-8. */
  readonly text: string | undefined;
}

/** The export of all ecosystems has about a million files. */
const LIMITS: ZipLimits = { entries: 4_000_000, bytes: 64 * 1024 ** 3, code: "ADVISORIES_INVALID" };
const MAX_RECORD_BYTES = 32 * 1024 ** 2;
const ZIP_MAGIC = "PK";

/**
 * The `.json` files of a zip, of a folder and all folders in it, or the one file that `path` is; one in memory at a time. Links are not followed.
 * @throws GatewayError ADVISORIES_INVALID for what can't be read
 */
export async function* readRecordTexts(path: string, signal: AbortSignal): AsyncGenerator<RecordText> {
  try {
    if ((await stat(path)).isDirectory()) yield* readFolder(path, signal);
    else {
      await using file = await open(path);
      const magic = await file.read(Buffer.alloc(2), 0, 2, 0);
      if (magic.buffer.toString("latin1") === ZIP_MAGIC) yield* readZipped(file, signal);
      else yield { name: path, text: await readWhole(file) };
    }
  } catch (error) {
    if (error instanceof GatewayError || !(error instanceof Error && "code" in error)) throw error;
    const why = isMissing(error) ? "there is none" : printable(error.message);
    throw new GatewayError("ADVISORIES_INVALID", `\`${printable(path)}\` cannot be read: ${why}`, { cause: error });
  }
}

async function* readFolder(path: string, signal: AbortSignal): AsyncGenerator<RecordText> {
  for await (const entry of await opendir(path, { recursive: true })) {
    signal.throwIfAborted();
    if (!entry.isFile() || !entry.name.endsWith(".json")) continue;
    await using file = await open(join(entry.parentPath, entry.name), constants.O_RDONLY | constants.O_NOFOLLOW);
    yield { name: entry.name, text: await readWhole(file) };
  }
}

async function* readZipped(zip: FileHandle, signal: AbortSignal): AsyncGenerator<RecordText> {
  for await (const { name, size, content } of readZip(zip, LIMITS)) {
    signal.throwIfAborted();
    const shown = printable(name.toString("utf8"), 200);
    if (!shown.endsWith(".json")) continue;
    const text = size > MAX_RECORD_BYTES ? undefined : utf8(Buffer.concat(await Array.fromAsync(content())));
    yield { name: shown, text };
  }
}

async function readWhole(file: FileHandle): Promise<string | undefined> {
  const { size } = await file.stat();
  return size > MAX_RECORD_BYTES ? undefined : utf8(await file.readFile());
}
