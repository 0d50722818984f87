import { randomBytes } from "node:crypto";

/** What a session's sandbox holds in the place of its secrets, by the secret's name. */
export type Placeholders = ReadonlyMap<string, string>;

const MARKER = "glovebox-secret-";
/** 192 bits, in 32 characters. */
const RANDOM_BYTES = 24;
const BEHIND_MARKER = "[A-Z_][A-Z0-9_]{0,63}-[A-Za-z0-9_-]{32}";
/** The longest, of 64 characters of name, in base64 with a neighbour's bits at both ends. */
const MAX_CHARS = Math.ceil(((MARKER.length + 64 + 1 + 32) * 8) / 6) + 2;

/** New placeholders, for one session: worth nothing outside it, and to be guessed by nobody. */
export function mintPlaceholders(secrets: readonly { readonly name: string }[]): Placeholders {
  return new Map(
    secrets.map(({ name }) => [name, `${MARKER}${name}-${randomBytes(RANDOM_BYTES).toString("base64url")}`]),
  );
}

/** The name of the secret that it stands for in this session; `undefined` when it is another session's, or made up. */
export function ownerOf(placeholders: Placeholders, placeholder: string): string | undefined {
  return [...placeholders].find(([, it]) => it === placeholder)?.[0];
}

/**
 * Every session's placeholders in a text: as they are, in base64 (also of something longer, also wrapped over lines), and all of it
 * escaped in a URL or in JSON. Whoever wants to hide one can; it is worthless without the proxy, which knows what it stands for.
 */
export function findPlaceholders(text: string): readonly string[] {
  return createScanner().push(Buffer.from(text, "latin1"));
}

/** Finds what `findPlaceholders` does in one body, wherever it is cut into chunks. */
export interface Scanner {
  /**
   * The placeholders that end in this chunk: hand it on only when there are none. What came before held no whole one, so nothing
   * has to be held back.
   */
  push(chunk: Buffer): readonly string[];
}

export function createScanner(): Scanner {
  /** The decoded end of what came, in which a placeholder may have begun. */
  let tail = "";
  /** An escape that has not ended, as it came. */
  let unfinished = "";
  return {
    push: (chunk) => {
      const text = unfinished + chunk.toString("latin1");
      unfinished = UNFINISHED_ESCAPE.exec(text.slice(-5))?.[0] ?? "";
      const view = tail + unescaped(text.slice(0, text.length - unfinished.length));
      const found = SPELLINGS.flatMap((it) => foundAs(it, view));
      const begun = Math.max(view.length - MAX_CHARS + 1, ...found.map(({ at }) => at + 1));
      tail = view.slice(Math.max(0, begun));
      return [...new Set(found.map(({ placeholder }) => placeholder))];
    },
  };
}

const ESCAPE = /[\r\n]+|\\[rn]|(?:%|\\u00)([0-9A-Fa-f]{2})/g;
const UNFINISHED_ESCAPE = /(?:%[0-9A-Fa-f]?|\\(?:u(?:0(?:0[0-9A-Fa-f]?)?)?)?)$/;

/** Without escapes, and without the ends of lines. No encoder escapes letters, digits, `-` and `_`, but one may. */
function unescaped(text: string): string {
  return text.replaceAll(ESCAPE, (_, hex: string | undefined) => {
    const code = hex === undefined ? 10 : Number.parseInt(hex, 16);
    return code === 10 || code === 13 ? "" : String.fromCharCode(code);
  });
}

interface Spelling {
  /** What it begins with, as far as that does not depend on what stands before and behind it. */
  readonly start: string;
  /** The placeholder, or `undefined` when none begins here that is whole. */
  read(view: string, at: number): string | undefined;
}

const PLAIN = new RegExp(`^${MARKER}${BEHIND_MARKER}`);

function readPlain(view: string, at: number): string | undefined {
  return PLAIN.exec(view.slice(at, at + MAX_CHARS))?.[0];
}

/** With so many bytes of something else in its first group of three. */
function inBase64(before: number): Spelling {
  const encoded = Buffer.from("\0".repeat(before) + MARKER).toString("base64");
  const from = Math.ceil((before * 8) / 6);
  const start = encoded.slice(from, Math.floor(((before + MARKER.length) * 8) / 6));
  const behind = new RegExp(`${MARKER.slice(1)}${BEHIND_MARKER}`);
  return {
    start,
    read: (view, at) => {
      const run = /^[A-Za-z0-9+/_-]*/.exec(view.slice(at, at + MAX_CHARS))?.[0] ?? "";
      // The first byte is not whole without what stands before it.
      const found = behind.exec(Buffer.from("A".repeat(from) + run, "base64").toString("latin1"));
      return found ? MARKER.charAt(0) + found[0] : undefined;
    },
  };
}

const SPELLINGS: readonly Spelling[] = [{ start: MARKER, read: readPlain }, ...[0, 1, 2].map(inBase64)];

function foundAs({ start, read }: Spelling, view: string): { at: number; placeholder: string }[] {
  const found: { at: number; placeholder: string }[] = [];
  for (let at = view.indexOf(start); at !== -1; at = view.indexOf(start, at + 1)) {
    const placeholder = read(view, at);
    if (placeholder !== undefined) found.push({ at, placeholder });
  }
  return found;
}
