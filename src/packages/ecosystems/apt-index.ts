import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import xz from "xz-decompress";
import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import { malformed } from "./documents.ts";

/** One file of an archive: a version of a package for one architecture, or for all. */
export interface AptFile {
  readonly name: string;
  readonly version: string;
  /** Below the archive's root. */
  readonly path: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  /** What it was built from: advisories are about that. */
  readonly source: { readonly name: string; readonly version: string };
}

/** What a `Packages` file lists. */
export interface AptIndex {
  files(name: string): readonly AptFile[];
  at(path: string): AptFile | undefined;
}

/** As archives have them; the first that there is will do. */
export const COMPRESSIONS = ["gz", "xz"] as const;
export interface Compressed {
  readonly body: Buffer;
  readonly compression: (typeof COMPRESSIONS)[number];
}

/** Debian's largest has 70 000 entries and 60 MB. */
const MAX_ENTRIES = 300_000;
const MAX_BYTES = 512 * 1024 * 1024;
const MAX_LINE_CHARS = 1_048_576;
const FIELD = /^(Package|Source|Version|Filename|SHA256): (.*)$/;
/** Of another name, or another version, than the package: `glibc (2.41-1)`. */
const SOURCE = /^(\S+)(?: \((\S+)\))?$/;
const PATH = /^pool\/[A-Za-z0-9][A-Za-z0-9._+~/-]*\.deb$/;

/**
 * Reads a compressed `Packages` as it is uncompressed: a whole one is never in memory. Entries that can't be read are left out, and with
 * them their files.
 * @throws GatewayError REGISTRY_MALFORMED
 */
export async function readAptIndex(naming: Naming, compressed: Compressed, what: string): Promise<AptIndex> {
  // One text for each: an object would take several times the memory.
  const byName = new Map<string, string[]>();
  const nameAt = new Map<string, string>();
  let fields: Record<string, string> = {};
  const take = (line: string) => {
    const [, field, value] = FIELD.exec(line) ?? [];
    if (field !== undefined && value !== undefined) fields[field] = value;
    if (line !== "") return;
    const file = readEntry(naming, fields);
    fields = {};
    if (!file) return;
    if (nameAt.size >= MAX_ENTRIES) throw malformed(what);
    const name = copy(file.name);
    nameAt.set(copy(file.path), name);
    byName.set(name, [
      ...(byName.get(name) ?? []),
      copy(`${file.version} ${file.sha256} ${file.path} ${file.source.name} ${file.source.version}`),
    ]);
  };
  try {
    await eachLine(compressed, take, what);
  } catch (error) {
    throw malformed(what, error);
  }
  take("");
  const files = (name: string): AptFile[] =>
    (byName.get(name) ?? []).map((it) => {
      const [version = "", sha256 = "", path = "", source = "", sourceVersion = ""] = it.split(" ");
      return { name, version, sha256, path, source: { name: source, version: sourceVersion } };
    });
  return { files, at: (path) => files(nameAt.get(path) ?? "").find((it) => it.path === path) };
}

async function eachLine(compressed: Compressed, take: (line: string) => void, what: string): Promise<void> {
  let bytes = 0;
  let rest = "";
  for await (const chunk of uncompressed(compressed)) {
    bytes += chunk.length;
    const lines = (rest + Buffer.from(chunk).toString("latin1")).split("\n");
    rest = lines.pop() ?? "";
    if (bytes > MAX_BYTES || rest.length > MAX_LINE_CHARS) throw malformed(what);
    for (const line of lines) take(line);
  }
  take(rest);
}

/** xz in WebAssembly, whose memory is its own: the bytes are anybody's until apt in the sandbox has looked at their signature. */
function uncompressed({ body, compression }: Compressed): AsyncIterable<Uint8Array> {
  if (compression === "gz") return pipeline(Readable.from([body]), createGunzip(), () => undefined);
  return new xz.XzReadableStream(new Blob([new Uint8Array(body)]).stream());
}

function readEntry(naming: Naming, fields: Record<string, string>): AptFile | undefined {
  const name = naming.readName(fields["Package"] ?? "");
  const version = naming.readVersion(fields["Version"] ?? "");
  const { Filename: path = "", SHA256: sha256 = "" } = fields;
  if (name === undefined || version === undefined || !PATH.test(path) || /\.\.|\/\//.test(path)) return undefined;
  if (!/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  const [, source = "", sourceVersion = ""] = SOURCE.exec(fields["Source"] ?? "") ?? [];
  const made = { name: naming.readName(source) ?? name, version: naming.readVersion(sourceVersion) ?? version };
  return { name, version, path, sha256, source: made };
}

/** A part of a text keeps all of that in memory; a copy doesn't. */
function copy(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}
