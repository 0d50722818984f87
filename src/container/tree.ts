import { addAbortSignal, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Header } from "tar-stream";
import { GatewayError } from "../errors.ts";
import { encodeTar, plainHeader, type TarInput } from "../lib/tar-write.ts";
import { parserFailure } from "./archive.ts";
import type { TreeEntry, TreeLimits } from "./container.ts";
import { AGENT_ID } from "./hardening.ts";

/** An import or export of this many milliseconds is given up. */
export const TREE_TIMEOUT_MS = 1_800_000;
const BATCH_BYTES = 256 * 1024;
const MAX_NAME_BYTES = 4095;

/** A tar of the entries, in pieces worth sending. */
export async function* tarOf(entries: AsyncIterable<TreeEntry>): AsyncGenerator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for await (const piece of encodeTar(inputsOf(entries))) {
    batch.push(piece);
    bytes += piece.length;
    if (bytes < BATCH_BYTES) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  yield Buffer.concat(batch);
}

async function* inputsOf(entries: AsyncIterable<TreeEntry>): AsyncGenerator<TarInput> {
  const owner = { uid: AGENT_ID, gid: AGENT_ID, mtime: Math.floor(Date.now() / 1000) };
  for await (const entry of entries) {
    const path = entry.name;
    if (entry.kind === "directory" && path !== "") {
      yield { ...plainHeader(`${path}/`, { ...owner, type: "directory", mode: 0o755 }), content: [] };
    } else if (entry.kind === "link") {
      const header = plainHeader(path, { ...owner, type: "symlink", mode: 0o777, linkname: entry.target });
      yield { ...header, content: [] };
    } else if (entry.kind === "file") {
      const mode = entry.executable ? 0o755 : 0o644;
      yield { ...plainHeader(path, { ...owner, mode, size: entry.sizeBytes }), content: entry.content };
    }
  }
}

interface Reading {
  /** Takes the name of an entry apart from what the sender puts before it; answers nothing for a name that it can't have. */
  readonly nameOf: (name: string) => string | undefined;
  readonly limits: TreeLimits;
  /** What more than the limits is. */
  readonly excess: GatewayError;
  readonly signal: AbortSignal;
  /** The error that a reader gets for what went wrong. */
  readonly explain: (error: unknown) => Promise<unknown>;
}

/** The entries of a tar that the guest sends: nothing of it is trusted. @throws GatewayError CHANNEL_VIOLATION, and `excess` */
export async function* entriesOf(archive: Readable, reading: Reading): AsyncGenerator<TreeEntry> {
  const { nameOf, limits, excess, signal, explain } = reading;
  const parser = extract();
  const fed = pipeline(addAbortSignal(signal, archive), parser).catch((error: unknown) => error);
  let entries = 0;
  let bytes = 0;
  try {
    for await (const source of parser) {
      const { header } = source;
      const size = header.type === "file" ? (header.size ?? Number.NaN) : 0;
      entries += 1;
      bytes += size;
      if (!Number.isSafeInteger(size) || size < 0) throw violation("a file has no size");
      if (entries > limits.maxEntries || bytes > limits.maxBytes) throw excess;
      const content = explained(source as AsyncIterable<Buffer>, explain);
      yield entryOf(header, checkedName(nameOf(header.name)), size, content);
      source.resume();
    }
    const problem = await fed;
    if (problem) throw problem;
  } catch (error) {
    throw await explain(parserFailure(error));
  } finally {
    parser.destroy();
    archive.destroy();
  }
}

async function* explained(content: AsyncIterable<Buffer>, explain: Reading["explain"]): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } catch (error) {
    throw await explain(parserFailure(error));
  }
}

function entryOf(header: Header, name: string, sizeBytes: number, content: AsyncIterable<Buffer>): TreeEntry {
  switch (header.type) {
    case "file":
      return { kind: "file", name, executable: ((header.mode ?? 0) & 0o111) !== 0, sizeBytes, content };
    case "directory":
      return { kind: "directory", name };
    case "symlink":
      return { kind: "link", name, target: header.linkname ?? "" };
    default:
      return { kind: "other", name };
  }
}

/** A program can give a file any name but these. */
function checkedName(name: string | undefined): string {
  if (name === "") return name;
  const wrong = name?.split("/").some((it) => it === "" || it === "." || it === "..");
  if (name === undefined || wrong || name.includes("\0") || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw violation("a name in an archive is not one below its directory");
  }
  return name;
}

function violation(message: string): GatewayError {
  return new GatewayError("CHANNEL_VIOLATION", message);
}
