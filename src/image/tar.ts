import type { FileHandle } from "node:fs/promises";
import { GatewayError } from "../errors.ts";
import { BLOCK, KINDS, type TarHeader, TYPES } from "../lib/tar-write.ts";

export interface TarEntry extends TarHeader {
  /** Where the content begins in the archive. */
  readonly offset: number;
}

const MAX_EXTENDED_BYTES = 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

/** Bytes of an archive by position, read from front to back. @throws GatewayError IMAGE_INVALID at its end */
export interface TarSource {
  readExactly(position: number, length: number): Promise<Buffer>;
}

/** An archive that is a file: a file in it is a range of bytes, so that nothing is read only to be skipped. */
export function tarFile(file: FileHandle): TarSource {
  return {
    async readExactly(position, length) {
      const buffer = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await file.read(buffer, done, length - done, position + done);
        if (bytesRead === 0) throw malformed("it ends too early");
        done += bytesRead;
      }
      return buffer;
    },
  };
}

/** An archive that comes out of a decompressor. What is skipped is read and dropped. */
export function tarStream(pieces: AsyncIterable<Buffer>): TarSource {
  const iterator = pieces[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  let at = 0;
  const more = async () => {
    const { done, value } = await iterator.next();
    if (done) throw malformed("it ends too early");
    held = held.length === 0 ? value : Buffer.concat([held, value]);
  };
  return {
    async readExactly(position, length) {
      while (at + held.length < position) {
        at += held.length;
        held = Buffer.alloc(0);
        await more();
      }
      held = held.subarray(position - at);
      at = position;
      while (held.length < length) await more();
      return held.subarray(0, length);
    },
  };
}

/**
 * The entries of an archive in their order, as GNU tar and Go write them (ustar, pax and GNU names). Nothing in it is trusted.
 * @throws GatewayError IMAGE_INVALID for what is not a whole tar archive
 */
export async function* readTar(source: TarSource): AsyncGenerator<TarEntry> {
  let extra: ExtraFields = {};
  for (let position = 0; ; ) {
    const block = await source.readExactly(position, BLOCK);
    if (block.every((it) => it === 0)) return;
    checkSum(block);
    const kind = String.fromCharCode(block[156] ?? 0);
    const type = kind === "\0" ? "file" : TYPES[KINDS.indexOf(kind)];
    const size = type === undefined || type === "file" ? (extra.size ?? number(block, 124, 12)) : 0;
    const offset = position + BLOCK;
    position = offset + Math.ceil(size / BLOCK) * BLOCK;
    if (type) {
      const { linkname = text(block, 157, 100), path = nameOf(block) } = extra;
      yield { ...ownerOf(block), path: plainPath(path), type, size, linkname, offset };
      extra = {};
    } else {
      if (size > MAX_EXTENDED_BYTES) throw malformed("an extended header is too large");
      extra = { ...extra, ...extraFields(kind, await source.readExactly(offset, size)) };
    }
  }
}

/** The content of an entry in pieces. */
export async function* contentOf(source: TarSource, { offset, size }: TarEntry): AsyncGenerator<Buffer> {
  for (let done = 0; done < size; ) {
    const piece = await source.readExactly(offset + done, Math.min(PIECE_BYTES, size - done));
    done += piece.length;
    yield piece;
  }
}

export function plainPath(name: string): string {
  return name
    .replace(/^(\.?\/)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "");
}

interface ExtraFields {
  readonly path?: string;
  readonly linkname?: string;
  readonly size?: number;
}

/** What a header before another says of that one. */
function extraFields(kind: string, content: Buffer): ExtraFields {
  if (kind === "x") return paxFields(content);
  if (kind === "L") return { path: text(content, 0, content.length) };
  if (kind === "K") return { linkname: text(content, 0, content.length) };
  if (kind === "g") return {};
  throw malformed(`an entry is of an unknown kind (${JSON.stringify(kind)})`);
}

function ownerOf(block: Buffer): Pick<TarHeader, "mode" | "uid" | "gid" | "mtime"> {
  return {
    mode: number(block, 100, 8) & 0o7777,
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    mtime: number(block, 136, 12),
  };
}

function nameOf(block: Buffer): string {
  const prefix = text(block, 257, 6) === "ustar" && block[262] === 0 ? text(block, 345, 155) : "";
  return prefix ? `${prefix}/${text(block, 0, 100)}` : text(block, 0, 100);
}

function checkSum(block: Buffer): void {
  const stored = number(block, 148, 8);
  const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (sum !== stored) throw malformed("a header does not match its checksum");
}

/** Octal digits, or GNU's big-endian binary where the first bit is set. */
function number(block: Buffer, start: number, length: number): number {
  const first = block[start] ?? 0;
  if (first === 0x80) {
    const value = block.readBigUInt64BE(start + length - 8);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a header holds a number that is too large");
    return Number(value);
  }
  const digits = text(block, start, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw malformed("a header holds a number that is none");
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** UTF-8 up to the first NUL. */
function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString("utf8", start, end < 0 || end > start + length ? start + length : end);
}

/** Records `length key=value\n`, of which the length counts itself. */
function paxFields(content: Buffer): ExtraFields {
  const fields: { -readonly [key in keyof ExtraFields]: ExtraFields[key] } = {};
  for (let at = 0; at < content.length && content[at] !== 0; ) {
    const space = content.indexOf(0x20, at);
    const length = Number(content.toString("latin1", at, space));
    const end = at + length;
    if (
      space < 0 ||
      !Number.isSafeInteger(length) ||
      end <= space ||
      end > content.length ||
      content[end - 1] !== 0x0a
    ) {
      throw malformed("an extended header is malformed");
    }
    const record = content.toString("utf8", space + 1, end - 1);
    const [key, value] = [record.slice(0, record.indexOf("=")), record.slice(record.indexOf("=") + 1)];
    if (key === "path") fields.path = value;
    if (key === "linkpath") fields.linkname = value;
    if (key === "size") {
      if (!/^\d{1,15}$/.test(value)) throw malformed("an extended header is malformed");
      fields.size = Number(value);
    }
    at = end;
  }
  return fields;
}

function malformed(why: string): GatewayError {
  return new GatewayError("IMAGE_INVALID", `it is not a whole tar archive: ${why}`);
}
