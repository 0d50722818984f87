import { GatewayError } from "../errors.ts";

export type TarType = "file" | "link" | "symlink" | "character-device" | "block-device" | "directory" | "fifo";

export interface TarHeader {
  /** Without `./` and without slashes at its ends; empty for the root itself. */
  readonly path: string;
  readonly type: TarType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content; 0 for all but files. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Where a link leads. */
  readonly linkname: string;
}

export const BLOCK = 512;
/** By their kind in a header. */
export const KINDS = "0123456";
export const TYPES: readonly TarType[] = [
  "file",
  "link",
  "symlink",
  "character-device",
  "block-device",
  "directory",
  "fifo",
];

export interface TarInput extends TarHeader {
  /** Exactly `size` bytes. */
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>;
}

/** The bytes of an archive: a source for `pipeline`. @throws GatewayError INTERNAL when a content is not as long as its header says */
export async function* encodeTar(entries: AsyncIterable<TarInput> | Iterable<TarInput>): AsyncGenerator<Buffer> {
  for await (const entry of entries) {
    yield encodeHeader(entry);
    let written = 0;
    for await (const piece of entry.content) {
      written += piece.length;
      yield piece;
    }
    if (written !== entry.size)
      throw new GatewayError("INTERNAL", `${entry.path} has ${written} bytes and not ${entry.size}`);
    yield Buffer.alloc(-written & (BLOCK - 1));
  }
  yield Buffer.alloc(2 * BLOCK);
}

/** A header of root's for `encodeTar`; `changes` go over it. */
export function plainHeader(path: string, changes: Partial<TarHeader> = {}): TarHeader {
  return { path, type: "file", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0, linkname: "", ...changes };
}

function encodeHeader(header: TarHeader): Buffer {
  const long = [
    ...(Buffer.byteLength(header.path) > 100 ? [paxRecord("path", header.path)] : []),
    ...(Buffer.byteLength(header.linkname) > 100 ? [paxRecord("linkpath", header.linkname)] : []),
    ...(header.size >= 8 ** 11 ? [paxRecord("size", String(header.size))] : []),
  ];
  const block = encodeBlock(header, KINDS.charAt(TYPES.indexOf(header.type)));
  if (long.length === 0) return block;
  const records = Buffer.concat(long);
  const padding = Buffer.alloc(-records.length & (BLOCK - 1));
  const pax = { ...plainHeader("pax"), size: records.length };
  return Buffer.concat([encodeBlock(pax, "x"), records, padding, block]);
}

function encodeBlock({ path, mode, uid, gid, size, mtime, linkname }: TarHeader, kind: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, start: number, length: number) =>
    block.write((value % 8 ** (length - 1)).toString(8).padStart(length - 1, "0"), start, "latin1");
  block.write(path, 0, 100, "utf8");
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(size, 124, 12);
  octal(mtime, 136, 12);
  block.write(`        ${kind}`, 148, "latin1");
  block.write(linkname, 157, 100, "utf8");
  block.write("ustar\x0000", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}
