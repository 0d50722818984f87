import { type Needle, needlesOf, occurrences } from "./needle.ts";

/** Of each secret so many values are known, the latest: what a command prints may be another one each time. */
const MAX_VALUES = 8;

/** Values of secrets that were read, for whoever writes something down. */
export interface KnownSecrets {
  add(name: string, value: string): void;
  /**
   * The text with `[redacted:<name>]` in the place of each value: as it is, escaped in a URL, form, JSON or HTML, in base64 at any offset, or in
   * hexadecimal. Not of one that is cut, compressed, or wrapped over lines.
   */
  hide(text: string): string;
}

interface Known {
  readonly name: string;
  readonly needles: readonly Needle[];
  readonly hex: string;
}

interface Found {
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

export function createKnownSecrets(): KnownSecrets {
  /** By value, in the order in which they were read. */
  const known = new Map<string, Known>();
  let shortest = Number.POSITIVE_INFINITY;
  return {
    add(name, value) {
      known.delete(value);
      const [oldest, ...others] = [...known].filter(([, it]) => it.name === name).map(([it]) => it);
      if (oldest !== undefined && others.length + 1 >= MAX_VALUES) known.delete(oldest);
      // No way of writing a value is shorter than the value.
      shortest = Math.min(shortest, value.length);
      known.set(value, { name, needles: needlesOf(value), hex: Buffer.from(value, "latin1").toString("hex") });
    },
    hide(text) {
      if (text.length < shortest) return text;
      // Letters of hexadecimal only: some other characters have another length in small letters.
      const lower = /[0-9A-Fa-f]{16}/.test(text) ? text.replace(/[A-F]/g, (it) => it.toLowerCase()) : "";
      const found = [...known.values()].flatMap((it) => [...written(it, text), ...inHex(it, lower)]);
      return found.length === 0 ? text : replaced(text, found);
    },
  };
}

function written({ name, needles }: Known, text: string): Found[] {
  return needles.flatMap((needle) => occurrences(needle, text).map(([start, end]) => ({ start, end, name })));
}

function inHex({ name, hex }: Known, lower: string): Found[] {
  const found: Found[] = [];
  for (let at = lower.indexOf(hex); at !== -1; at = lower.indexOf(hex, at + hex.length)) {
    found.push({ start: at, end: at + hex.length, name });
  }
  return found;
}

/** What overlaps is replaced as one, under the name of what begins first. */
function replaced(text: string, found: readonly Found[]): string {
  let kept = "";
  let from = 0;
  for (const { start, end, name } of found.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    if (start >= from) kept += `${text.slice(from, start)}[redacted:${name}]`;
    from = Math.max(from, end);
  }
  return kept + text.slice(from);
}
