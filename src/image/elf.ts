import { type FileHandle, open } from "node:fs/promises";
import { GatewayError } from "../errors.ts";

/** What a 64-bit little-endian ELF file asks of the dynamic linker; empty lists for a static program. */
export interface DynamicNeeds {
  readonly interpreter: string | undefined;
  readonly libraries: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

const LOAD = 1;
const DYNAMIC = 2;
const INTERPRETER = 3;
const NEEDED = 1n;
const STRING_TABLE = 5n;
const STRING_TABLE_SIZE = 10n;
const MAX_PART_BYTES = 1 << 20;

/** @throws GatewayError IMAGE_BUILD_FAILED when the file isn't such an ELF file */
export async function dynamicNeeds(path: string): Promise<DynamicNeeds> {
  await using file = await open(path);
  const header = await readPart(file, 0, 64);
  if (header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) {
    throw new GatewayError("IMAGE_BUILD_FAILED", `${path} is not a 64-bit little-endian ELF file`);
  }
  const segments = await readSegments(file, header);
  const interpreter = segments.find(({ type }) => type === INTERPRETER);
  const dynamic = segments.find(({ type }) => type === DYNAMIC);
  return {
    interpreter: interpreter && text(await readPart(file, interpreter.offset, interpreter.size), 0),
    libraries: dynamic ? await readLibraries(file, dynamic, segments) : [],
  };
}

async function readSegments(file: FileHandle, header: Buffer): Promise<Segment[]> {
  const size = header.readUInt16LE(54);
  const count = header.readUInt16LE(56);
  const table = await readPart(file, Number(header.readBigUInt64LE(32)), size * count);
  return Array.from({ length: count }, (_, index) => {
    const entry = table.subarray(index * size, (index + 1) * size);
    return {
      type: entry.readUInt32LE(0),
      offset: Number(entry.readBigUInt64LE(8)),
      address: Number(entry.readBigUInt64LE(16)),
      size: Number(entry.readBigUInt64LE(32)),
    };
  });
}

async function readLibraries(file: FileHandle, dynamic: Segment, segments: readonly Segment[]): Promise<string[]> {
  const table = await readPart(file, dynamic.offset, dynamic.size);
  const entries = Array.from({ length: Math.floor(dynamic.size / 16) }, (_, index) => ({
    tag: table.readBigUInt64LE(index * 16),
    value: Number(table.readBigUInt64LE(index * 16 + 8)),
  }));
  const valueFor = (wanted: bigint) => entries.find(({ tag }) => tag === wanted)?.value ?? 0;
  const address = valueFor(STRING_TABLE);
  const load = segments.find((it) => it.type === LOAD && address >= it.address && address < it.address + it.size);
  if (!load) return [];
  const strings = await readPart(file, address - load.address + load.offset, valueFor(STRING_TABLE_SIZE));
  return entries.filter(({ tag }) => tag === NEEDED).map(({ value }) => text(strings, value));
}

function text(buffer: Buffer, start: number): string {
  const end = buffer.indexOf(0, start);
  return buffer.toString("latin1", start, end < 0 ? buffer.length : end);
}

async function readPart(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(Math.min(length, MAX_PART_BYTES));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
  if (bytesRead === buffer.length) return buffer;
  throw new GatewayError("IMAGE_BUILD_FAILED", "an ELF file is shorter than its headers say");
}
