import { utf8 } from "../../lib/text.ts";
import { MAX_STRING_CHARS, type RedactOptions, redact } from "../redact.ts";
import { redactLong } from "./long-text.ts";

/** Of one body before it is compressed: bytes of its JSON, and characters of all its texts. */
export const MAX_CONTENT_BYTES = 8 * 1024 * 1024;
/** Deeper than `redact` goes. */
const MAX_DEPTH = 80;
/** Of the word in which a text is cut, which goes: half a secret looks like none. UTF-16 code units. */
const MAX_WORD_CHARS = 4_096;
/** Begins what stands for a text while the rest is redacted. Of private use; a text that begins with it is put aside as well. */
const MARK = "\ue000";
const BASE64 = /^[A-Za-z0-9+/]{24,}={0,2}$/;

export interface Content {
  /** JSON, unless it was cut. */
  readonly bytes: Buffer;
  readonly isCut: boolean;
}

/**
 * What is kept of a value: its JSON without secrets, as the log would have it, but with long texts whole. In text that is base64 they are found as
 * well. Bytes that are no text stay as they are, unless a value that is known stands in them: that is replaced, and what is left is no base64.
 */
export async function contentOf(value: unknown, rules: RedactOptions = {}): Promise<Content> {
  let roomChars = MAX_CONTENT_BYTES;
  let isCut = false;
  const aside: string[] = [];
  const short = mapTexts(value, (text) => {
    const fitting = text.length <= roomChars ? text : cutText(text, roomChars);
    isCut ||= fitting.length < text.length;
    roomChars -= fitting.length;
    const isLong = fitting.length > MAX_STRING_CHARS || fitting.startsWith(MARK) || isBase64(fitting);
    return isLong ? `${MARK}${aside.push(fitting) - 1}` : fitting;
  });
  const clean: string[] = [];
  for (const text of aside) clean.push(await redactLong(await inBase64(text, rules), rules));
  const kept = mapTexts(redact(short, rules), (text) =>
    text.startsWith(MARK) ? (clean[Number(text.slice(MARK.length))] ?? text) : text,
  );
  const bytes = Buffer.from(JSON.stringify(kept));
  if (bytes.length <= MAX_CONTENT_BYTES) return { bytes, isCut };
  return { bytes: bytes.subarray(0, MAX_CONTENT_BYTES), isCut: true };
}

/** The value with other texts in it; names of members are no texts. */
function mapTexts(value: unknown, map: (text: string) => string, depth = 0): unknown {
  if (typeof value === "string") return map(value);
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) return value.map((it) => mapTexts(it, map, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, mapTexts(it, map, depth + 1)]));
}

function cutText(text: string, maxChars: number): string {
  const floor = Math.max(0, maxChars - MAX_WORD_CHARS);
  let end = maxChars;
  while (end > floor && !/\s/.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && BASE64.test(text);
}

/** Of a file that is sent as base64, the text is what secrets stand in. */
async function inBase64(text: string, rules: RedactOptions): Promise<string> {
  const decoded = isBase64(text) ? utf8(Buffer.from(text, "base64")) : undefined;
  if (decoded === undefined) return text;
  const clean = await redactLong(decoded, rules);
  return clean === decoded ? text : Buffer.from(clean).toString("base64");
}
