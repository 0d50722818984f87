import { createHash } from "node:crypto";
import { printable } from "../lib/text.ts";

/** What Slack takes in one text object, in characters. */
const MAX_TEXT_CHARS = 3_000;

export interface Shown {
  /** To be shown one after the other. */
  readonly parts: readonly string[];
  /** Of what could not be shown whole: how much there is, and its digest. */
  readonly cut?: string;
}

/**
 * As much of a text as there is room for, in Slack's pieces; what is left out is at its end.
 * @param room in the units of `weight`
 */
export function shown(text: string, room: number): Shown {
  const clean = printable(text, Number.MAX_SAFE_INTEGER);
  const kept = cutTo(clean, room);
  const parts = inPieces(kept === "" ? " " : kept);
  if (kept.length === clean.length) return { parts };
  const digest = createHash("sha256").update(text).digest("hex");
  return { parts, cut: `${kept.length} of ${clean.length} characters are shown; sha256 of the whole: ${digest}` };
}

/** The same of several texts: the short ones whole, and what they leave for the long ones in equal parts. */
export function shownTogether(texts: readonly string[], room: number): Shown[] {
  const needs = texts.map((text, at) => ({ at, need: weight(printable(text, Number.MAX_SAFE_INTEGER)) }));
  const result: Shown[] = [];
  let left = room;
  for (const [done, { at, need }] of needs.toSorted((a, b) => a.need - b.need).entries()) {
    const share = Math.min(need, Math.floor(left / (texts.length - done)));
    left -= share;
    result[at] = shown(texts[at] ?? "", share);
  }
  return result;
}

/** One line, cut with an ellipsis: for names. @param room in the units of `weight` */
export function oneLine(text: string, room: number): string {
  const line = printable(text.replace(/\s+/g, " "), Number.MAX_SAFE_INTEGER);
  const kept = cutTo(line, room);
  return kept === line ? line : `${kept}…`;
}

/**
 * What a text adds to a message, in characters of its JSON in ASCII. Slack refuses messages of about 13,000 with `msg_blocks_too_long`, and
 * says nowhere how it counts (https://github.com/slackapi/bolt-js/issues/2509): this counts more than it can.
 */
export function weight(text: string): number {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/g, "\\u0000").length - 2;
}

function inPieces(text: string): string[] {
  const pieces: string[] = [];
  for (let from = 0; from < text.length; ) {
    const piece = text.slice(from, from + MAX_TEXT_CHARS);
    // Half a character is left for the next one.
    const whole = from + piece.length < text.length ? piece.replace(/[\ud800-\udbff]$/, "") : piece;
    pieces.push(whole);
    from += whole.length;
  }
  return pieces;
}

/** Between characters, never within one. */
function cutTo(text: string, room: number): string {
  if (weight(text) <= room) return text;
  let [left, end] = [room, 0];
  for (const character of text) {
    left -= weight(character);
    if (left < 0) break;
    end += character.length;
  }
  return text.slice(0, end);
}

/** For the few texts in which Slack reads markup (https://docs.slack.dev/messaging/formatting-message-text, "escaping"). */
export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
