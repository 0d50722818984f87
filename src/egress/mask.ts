import { type Needle, needlesOf, occurrences, openFrom, type Range } from "./needle.ts";

/**
 * Puts `*` in the place of secret values, one for each character, so that a length that was announced stays true. Finds a value that
 * is whole: as it is, escaped in a URL, form, JSON or HTML, or in base64. Not one that is cut, compressed, or wrapped over lines.
 */
export interface Mask {
  /** For a header's value, a line of a log, an error. */
  text(text: string): string;
  /** For one body, which isn't compressed. */
  stream(): MaskStream;
}

/** What is given out is all that was put in, in order, masked. Holds back only what may be the beginning of a value. */
export interface MaskStream {
  /** The bytes that are certain by now, whatever comes next; where nothing was masked, a part of the chunk itself. */
  push(chunk: Buffer): Buffer;
  /** The rest. */
  end(): Buffer;
}

/** Made once for a set of values, as `readSecret` gives them, and used for many responses. */
export function createMask(values: readonly string[]): Mask {
  const needles = [...new Set(values)].flatMap(needlesOf);
  return { text: (text) => maskText(needles, text), stream: () => maskStream(needles) };
}

function maskText(needles: readonly Needle[], text: string): string {
  let masked = "";
  let from = 0;
  for (const [start, end] of merged(needles.flatMap((it) => occurrences(it, text)))) {
    masked += text.slice(from, start) + "*".repeat(end - start);
    from = end;
  }
  return masked + text.slice(from);
}

function maskStream(needles: readonly Needle[]): MaskStream {
  /** As it came: what is masked could not be the beginning of another value. */
  let held: Buffer = Buffer.alloc(0);
  /** So much of its beginning is the end of a value whose beginning has been given out. */
  let heldMasked = 0;

  const advance = (chunk: Buffer, isLast: boolean): Buffer => {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const text = bytes.toString("latin1");
    const until = isLast
      ? bytes.length
      : needles.reduce((least, it) => Math.min(least, openFrom(it, text)), bytes.length);
    const found = merged([[0, heldMasked], ...needles.flatMap((it) => occurrences(it, text))]);
    const out = masked(bytes.subarray(0, until), found);
    // One that begins later is found again.
    const ends = found.filter(([start]) => start < until).map(([, end]) => end);
    heldMasked = Math.max(until, heldMasked, ...ends) - until;
    // A copy: the chunk is its owner's, and may be large.
    held = Buffer.from(bytes.subarray(until));
    return out;
  };
  return { push: (chunk) => advance(chunk, false), end: () => advance(Buffer.alloc(0), true) };
}

/** The bytes themselves where there is nothing to mask, else a copy. */
function masked(bytes: Buffer, ranges: readonly Range[]): Buffer {
  const inside = ranges.filter(([start]) => start < bytes.length);
  if (inside.length === 0) return bytes;
  const copy = Buffer.from(bytes);
  for (const [start, end] of inside) copy.fill("*", start, Math.min(end, bytes.length));
  return copy;
}

/** In order, and apart from each other. */
function merged(ranges: readonly Range[]): readonly Range[] {
  const apart: [number, number][] = [];
  for (const [start, end] of ranges.filter((it) => it[0] < it[1]).toSorted((a, b) => a[0] - b[0])) {
    const before = apart.at(-1);
    if (before && start <= before[1]) before[1] = Math.max(before[1], end);
    else apart.push([start, end]);
  }
  return apart;
}
