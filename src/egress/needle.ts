/**
 * Something to be found in text, in any way in which it is ordinarily written. Text is a string of one character a byte (latin1).
 * Parts follow each other; each has one way or several in which it may be written.
 */
export interface Needle {
  readonly parts: readonly (readonly string[])[];
  /** The longest part that is written in one way, and how far behind the beginning it stands. */
  readonly anchor: { readonly text: string; readonly minBefore: number; readonly maxBefore: number } | undefined;
  /** Every character with which it may begin. */
  readonly initials: ReadonlySet<string>;
  /** Of its longest way to be written, in characters. */
  readonly maxLength: number;
}

/** From the first character to before the last. */
export type Range = readonly [start: number, end: number];

/**
 * The needles for a value of printable ASCII: as it is or escaped in URLs, forms, JSON and HTML, and the same of its base64 at each
 * of the three places where it can stand in the encoded bytes.
 */
export function needlesOf(value: string): readonly Needle[] {
  return [needle(spelled(value)), ...[0, 1, 2].map((before) => needle(inBase64(value, before)))];
}

function needle(parts: Needle["parts"]): Needle {
  const width = (of: (...lengths: number[]) => number, before: number) =>
    parts.slice(0, before).reduce((sum, ways) => sum + of(...ways.map((it) => it.length)), 0);
  const lengthOf = (ways: readonly string[]) => (ways.length === 1 ? (ways[0] ?? "").length : 0);
  const at = parts.reduce((best, ways, i) => (lengthOf(ways) > lengthOf(parts[best] ?? []) ? i : best), 0);
  const [text, ...others] = parts[at] ?? [];
  const anchored = text !== undefined && others.length === 0;
  return {
    parts,
    anchor: anchored ? { text, minBefore: width(Math.min, at), maxBefore: width(Math.max, at) } : undefined,
    initials: new Set(parts[0]?.map((it) => it.charAt(0))),
    maxLength: width(Math.max, parts.length),
  };
}

/** What no encoder escapes stays together; each other character may be escaped, or not. */
function spelled(text: string): string[][] {
  return (text.match(/[A-Za-z0-9._-]+|[^A-Za-z0-9._-]/g) ?? []).map((it) => (/^[\w.-]/.test(it) ? [it] : waysOf(it)));
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };

function waysOf(char: string): string[] {
  const code = char.charCodeAt(0);
  const hex = code.toString(16).padStart(2, "0");
  const both = (write: (hex: string) => string) => [write(hex), write(hex.toUpperCase())];
  const ways = [
    ...[char, `\\${char}`, ENTITIES[char] ?? char, `&#${code};`, `&#0${code};`, char === " " ? "+" : char],
    ...[...both((it) => `%${it}`), ...both((it) => `\\u00${it}`), ...both((it) => `&#x${it};`)],
  ];
  return [...new Set(ways)];
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * The value's base64 (RFC 4648, either alphabet) where `before` bytes of its first group are of something else. A character that also
 * holds bits of a neighbour can be several.
 */
function inBase64(value: string, before: number): string[][] {
  const encoded = Buffer.concat([Buffer.alloc(before), Buffer.from(value, "latin1")]).toString("base64");
  const endBit = 8 * (before + value.length);
  const first = Math.floor((8 * before) / 6);
  const last = Math.floor(endBit / 6);
  const firstBits = (8 * before) % 6;
  const lastBits = endBit % 6;
  const shared = (at: number, count: number, step: number) => {
    const index = ALPHABET.indexOf(encoded.charAt(at));
    return Array.from({ length: count }, (_, i) => inEitherAlphabet(ALPHABET.charAt(index + i * step))).flat();
  };
  return [
    ...(firstBits === 0 ? [] : [shared(first, 2 ** firstBits, 2 ** (6 - firstBits))]),
    ...(encoded.slice(firstBits === 0 ? first : first + 1, last).match(/[A-Za-z0-9]+|[+/]/g) ?? []).map((it) =>
      it.length === 1 ? inEitherAlphabet(it) : [it],
    ),
    ...(lastBits === 0 ? [] : [shared(last, 2 ** (6 - lastBits), 1)]),
  ];
}

function inEitherAlphabet(char: string): string[] {
  if (char === "+") return [...waysOf("+"), "-"];
  return char === "/" ? [...waysOf("/"), "_"] : [char];
}

/** Every place where the needle stands, also where two overlap. */
export function occurrences(needle: Needle, text: string): readonly Range[] {
  const found: Range[] = [];
  const tryAt = (start: number) => {
    const { end } = matchAt(needle, text, start);
    if (end !== undefined) found.push([start, end]);
  };
  const { anchor, initials } = needle;
  if (anchor) {
    for (let at = text.indexOf(anchor.text); at !== -1; at = text.indexOf(anchor.text, at + 1)) {
      for (let start = Math.max(0, at - anchor.maxBefore); start <= at - anchor.minBefore; start += 1) tryAt(start);
    }
  } else {
    for (let start = 0; start < text.length; start += 1) if (initials.has(text.charAt(start))) tryAt(start);
  }
  return found;
}

/** Where the first occurrence begins that may go on behind the end of the text; the text's length when there is none. */
export function openFrom(needle: Needle, text: string): number {
  for (let start = Math.max(0, text.length - needle.maxLength + 1); start < text.length; start += 1) {
    if (needle.initials.has(text.charAt(start)) && matchAt(needle, text, start).open) return start;
  }
  return text.length;
}

/** The end of the longest occurrence that begins here, and whether more text could make one, or a longer one. */
function matchAt({ parts }: Needle, text: string, start: number): { end: number | undefined; open: boolean } {
  let reached = new Set([start]);
  let open = false;
  for (const ways of parts) {
    const next = new Set<number>();
    for (const at of reached) {
      for (const way of ways) {
        if (text.startsWith(way, at)) next.add(at + way.length);
        else if (at + way.length > text.length && way.startsWith(text.slice(at))) open = true;
      }
    }
    if (next.size === 0) return { end: undefined, open };
    reached = next;
  }
  return { end: Math.max(...reached), open };
}
