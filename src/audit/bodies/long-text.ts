import { setImmediate } from "node:timers/promises";
import type { RedactOptions } from "../redact.ts";
import { redactText } from "../redact-text.ts";
import { nameHolds } from "../secrets.ts";

/** Looked at in one go, while everything else in the process waits; UTF-16 code units. */
export const PIECE_CHARS = 256 * 1024;
/** How much is seen of what follows a piece, and how far before it another place to end one is looked for. A secret is told by less. */
const AHEAD_CHARS = 64 * 1024;

export interface Redacted {
  readonly text: string;
  readonly isCut: boolean;
}

/**
 * As `redactText`, letting others go on meanwhile, and of a text longer than `maxChars` as much of its beginning as may be kept: a text of 2 MiB can
 * take a second. INVARIANT: a piece ends only where that makes no difference to what is found on either side, so that nothing
 * is kept that `redactText` finds in the whole text. Where no such place is found, as inside one value that is longer than a piece, the rest is left out.
 */
export async function redactLong(
  text: string,
  { hide = (it) => it, names = nameHolds }: RedactOptions,
  maxChars: number,
): Promise<Redacted> {
  const clean = (part: string) => redactText(part, hide, names);
  const kept: string[] = [];
  for (let at = 0; ; ) {
    await setImmediate();
    const seen = text.slice(at, at + PIECE_CHARS);
    const isLast = at + seen.length === text.length;
    if (isLast && text.length <= maxChars) return { text: kept.join("") + clean(seen), isCut: false };
    const most = Math.min(maxChars - at, isLast ? seen.length : seen.length - AHEAD_CHARS);
    const piece = await pieceOf(seen, most, clean);
    if (!piece) return { text: kept.join(""), isCut: true };
    kept.push(piece.clean);
    at += piece.chars;
  }
}

async function pieceOf(seen: string, most: number, clean: (part: string) => string) {
  const whole = clean(seen);
  for (let before = most; before > 0; before -= AHEAD_CHARS) {
    const chars = endBefore(seen.slice(0, before));
    if (chars <= 0) continue;
    await setImmediate();
    const first = clean(seen.slice(0, chars));
    if (first + clean(seen.slice(chars)) === whole) return { clean: first, chars };
  }
  return undefined;
}

/** Before the last line, else the last word: half a word may be half a token. Never between the halves of a surrogate pair. */
function endBefore(text: string): number {
  const line = text.lastIndexOf("\n");
  return line > 0 ? line : text.search(/[^\w.-][\w.-]*$/u);
}
