import { setImmediate } from "node:timers/promises";
import { utf8 } from "../../lib/text.ts";
import { MAX_STRING_CHARS, type RedactOptions, redact } from "../redact.ts";
import { PIECE_CHARS, type Redacted, redactLong } from "./long-text.ts";

/** Of one body before it is compressed: bytes of its JSON, and characters of its texts. Redacting them takes time, of which an agent could take much. */
export const MAX_CONTENT_BYTES = 2 * 1024 * 1024;
/** Deeper than `redact` goes. */
const MAX_DEPTH = 80;
/** Begins what stands for a text while the rest is redacted. Of private use; a text that begins with it is put aside as well. */
const MARK = "\ue000";
const BASE64 = /^[A-Za-z0-9+/]{24,}={0,2}$/;
/** Texts that are redacted in one go, with the value that they stand in; and as much of names of members. */
const TOGETHER_CHARS = PIECE_CHARS / 2;
/** Of other texts that are not long so many are. */
const AT_ONCE = PIECE_CHARS / MAX_STRING_CHARS;

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
  let isCut = false;
  let chars = 0;
  let nameChars = 0;
  const aside: string[] = [];
  const short = mapMembers(value, {
    name: (name) => {
      nameChars += name.length;
      isCut ||= nameChars > TOGETHER_CHARS;
      return nameChars <= TOGETHER_CHARS;
    },
    text: (text, isMember) => {
      const isLong = text.length > MAX_STRING_CHARS || text.startsWith(MARK) || isBase64(text);
      if (!isLong && chars + text.length <= TOGETHER_CHARS) {
        chars += text.length;
        return text;
      }
      if (isLong || isMember) return `${MARK}${aside.push(text) - 1}`;
      // In a list the text before it may be a flag that says what it is: it can't be looked at alone.
      isCut = true;
      return "";
    },
  });
  const clean: string[] = [];
  for (const [at, text] of aside.entries()) {
    if (at % AT_ONCE === 0) await setImmediate();
    const kept = await redacted(text, rules, MAX_CONTENT_BYTES - chars);
    chars = Math.min(MAX_CONTENT_BYTES, chars + text.length);
    isCut ||= kept.isCut;
    clean.push(kept.text);
  }
  await setImmediate();
  const kept = mapMembers(redact(short, rules), {
    text: (text) => (text.startsWith(MARK) ? (clean[Number(text.slice(MARK.length))] ?? text) : text),
  });
  const bytes = Buffer.from(JSON.stringify(kept));
  if (bytes.length <= MAX_CONTENT_BYTES) return { bytes, isCut };
  return { bytes: bytes.subarray(0, MAX_CONTENT_BYTES), isCut: true };
}

interface Mapping {
  /** Whether a member of that name stays. Left out: all do. */
  readonly name?: (name: string) => boolean;
  readonly text: (text: string, isMember: boolean) => string;
}

function mapMembers(value: unknown, to: Mapping, depth = 0, isMember = true): unknown {
  if (typeof value === "string") return to.text(value, isMember);
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) return value.map((it) => mapMembers(it, to, depth + 1, false));
  const members = Object.entries(value).filter(([name]) => to.name?.(name) ?? true);
  return Object.fromEntries(members.map(([name, it]) => [name, mapMembers(it, to, depth + 1)]));
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && BASE64.test(text);
}

/** Of a file that is sent as base64, the text is what secrets stand in. */
async function redacted(text: string, rules: RedactOptions, maxChars: number): Promise<Redacted> {
  const decoded = isBase64(text) ? utf8(Buffer.from(text, "base64")) : undefined;
  if (decoded !== undefined) {
    const clean = await redactLong(decoded, rules, maxChars);
    if (clean.text !== decoded) return { text: Buffer.from(clean.text).toString("base64"), isCut: clean.isCut };
  }
  if (text.length > MAX_STRING_CHARS) return await redactLong(text, rules, maxChars);
  const clean = text.length > maxChars ? undefined : redact(text, rules);
  return typeof clean === "string" ? { text: clean, isCut: false } : { text: "", isCut: true };
}
