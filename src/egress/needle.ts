/**
 * Something to be found in text, in any way in which it is ordinarily written. Text is a string of one character a byte (latin1).
 * Parts follow each other; each has one way or several in which it may be written.
 */
export interface Needle {
  readonly parts: readonly (readonly string[])[];
  /** The same from the last part to the first, each with its ways by the code of the character that they end with. */
  readonly backwards: readonly ReadonlyMap<number, readonly string[]>[];
  /** The longest part that is written in one way, and how far behind the beginning it stands. */
  readonly anchor: { readonly text: string; readonly minBefore: number; readonly maxBefore: number } | undefined;
  /** Every character with which it may begin. */
  readonly initials: ReadonlySet<string>;
  /** Of its longest way to be written, in characters. */
  readonly maxLength: number;
}

const NONE: readonly string[] = [];

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
    backwards: parts.toReversed().map((ways) => Map.groupBy(ways, (it) => it.charCodeAt(it.length - 1))),
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

/**
 * Every place where the needle stands, each as far as it can reach; also where two overlap. In the order of their beginnings. Takes no longer
 * than the text's length times the number of parts, whatever the text is.
 */
export function occurrences(needle: Needle, text: string): readonly Range[] {
  return regions(needle, text).flatMap((region) => within(needle, text, region));
}

/** Where an occurrence can stand: parts of the text that do not overlap. */
function regions({ anchor, maxLength }: Needle, text: string): readonly Range[] {
  if (!anchor) return [[0, text.length]];
  const found: [start: number, end: number][] = [];
  for (let at = text.indexOf(anchor.text); at !== -1; at = text.indexOf(anchor.text, at + 1)) {
    const start = Math.max(0, at - anchor.maxBefore);
    const end = Math.min(text.length, at - anchor.minBefore + maxLength);
    const last = found.at(-1);
    if (last && start < last[1]) last[1] = end;
    else found.push([start, end]);
  }
  return found;
}

/** From the last part to the first, for all places at once: where it, and what follows it, stands. */
function within({ backwards }: Needle, text: string, [from, to]: Range): Range[] {
  // How far what follows reaches from each of these places; before the last part each reaches just to itself.
  let reach = new Int32Array(to - from + 1);
  let others = new Int32Array(to - from + 1);
  let places: number[] = [];
  for (let place = from + 1; place <= to; place += 1) {
    if (!backwards[0]?.has(text.charCodeAt(place - 1))) continue;
    places.push(place);
    reach[place - from] = place;
  }
  for (const ways of backwards) {
    const next: number[] = [];
    for (const place of places) {
      const end = reach[place - from] ?? 0;
      reach[place - from] = 0;
      for (const way of ways.get(text.charCodeAt(place - 1)) ?? NONE) {
        const start = place - way.length;
        if (start < from || (way.length > 1 && !text.startsWith(way, start))) continue;
        const known = others[start - from] ?? 0;
        // No way is empty, so that nothing reaches to 0.
        if (known === 0) next.push(start);
        if (known < end) others[start - from] = end;
      }
    }
    [reach, others, places] = [others, reach, next];
  }
  return places.sort((a, b) => a - b).map((start) => [start, reach[start - from] ?? start]);
}

/** Where the first occurrence begins that may go on behind the end of the text; the text's length when there is none. */
export function openFrom(needle: Needle, text: string): number {
  for (let start = Math.max(0, text.length - needle.maxLength + 1); start < text.length; start += 1) {
    if (needle.initials.has(text.charAt(start)) && mayGoOn(needle, text, start)) return start;
  }
  return text.length;
}

/** Whether more text could make what begins here an occurrence, or a longer one. */
function mayGoOn({ parts }: Needle, text: string, start: number): boolean {
  let reached = new Set([start]);
  for (const ways of parts) {
    const next = new Set<number>();
    for (const at of reached) {
      for (const way of ways) {
        if (text.startsWith(way, at)) next.add(at + way.length);
        else if (at + way.length > text.length && way.startsWith(text.slice(at))) return true;
      }
    }
    if (next.size === 0) return false;
    reached = next;
  }
  return false;
}
