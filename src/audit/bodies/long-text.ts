import { setImmediate } from "node:timers/promises";
import type { RedactOptions } from "../redact.ts";
import { redactText } from "../redact-text.ts";
import { nameHolds } from "../secrets.ts";

/** Looked at in one go, while everything else in the process waits; UTF-16 code units. */
const PIECE_CHARS = 256 * 1024;
/** How far before the end of a piece a better place to end it is looked for; more than a key or a token has. */
const SEARCH_CHARS = 16_384;

/**
 * As `redactText`, letting others go on meanwhile: a text of 8 MiB can take seconds. Values that are known are found wherever they stand. For the rest a
 * text is looked at piece by piece, each ending with a line, else a word, and not inside a private key; a value of several lines that is known by its name alone may be
 * found up to the end of its piece only.
 */
export async function redactLong(text: string, { hide, names = nameHolds }: RedactOptions): Promise<string> {
  const whole = text.toWellFormed();
  const hidden = hide ? hide(whole) : whole;
  const clean: string[] = [];
  for (let at = 0; at < hidden.length; ) {
    const end = endOfPiece(hidden, at);
    clean.push(redactText(hidden.slice(at, end), (it) => it, names));
    at = end;
    if (at < hidden.length) await setImmediate();
  }
  return clean.join("");
}

function endOfPiece(text: string, from: number): number {
  const most = from + PIECE_CHARS;
  if (most >= text.length) return text.length;
  const tail = text.slice(most - SEARCH_CHARS, most);
  const key = tail.lastIndexOf("-----BEGIN ");
  const ends = key === -1 || tail.includes("-----END ", key) ? tail : tail.slice(0, key);
  const line = ends.lastIndexOf("\n");
  const word = line === -1 ? ends.search(/[^\w+/=.-][\w+/=.-]*$/) : line;
  const end = word === -1 ? most : most - SEARCH_CHARS + word + 1;
  // Never between the halves of a surrogate pair.
  return /[\ud800-\udbff]/.test(text.charAt(end - 1)) ? end - 1 : end;
}
