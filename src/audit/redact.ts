import { hash } from "node:crypto";
import type { Json } from "./record.ts";
import { ANY_SECRET, nameHolds, SECRET_RULES } from "./secrets.ts";

/** A longer string is a body, not an argument: its size and digest are kept. UTF-16 code units. */
export const MAX_STRING_CHARS = 16_384;
const MAX_DEPTH = 64;
/** What stands beside a secret may be one too, and have been no match before that was replaced; two passes are the rule. */
const MAX_PASSES = 8;

/** Replaces values that are known to be secret by `[redacted:<name of the secret>]`, whose name is capitals, digits and underscores. */
export type Hide = (text: string) => string;

/**
 * The value as the log may keep it: secrets replaced by `[redacted:<rule>]`, lone surrogates by U+FFFD, strings over 16 Ki
 * by `{bytes, sha256}`, nesting past 64 cut, what JSON can't say by null. Finds a secret by the name it goes under (key,
 * variable, flag, header) and by well-known form; one that has neither is found by `hide` only, which replaces the values that are known. Total, idempotent, linear time.
 */
export function redact(value: unknown, hide: Hide = asItIs): Json {
  return redactAt(value, 0, hide);
}

function asItIs(text: string): string {
  return text;
}

function redactAt(value: unknown, depth: number, hide: Hide): Json {
  switch (typeof value) {
    case "string":
      return redactString(value, hide);
    case "number":
      // Adding 0 makes 0 of -0, which JSON doesn't have.
      return Number.isFinite(value) ? value + 0 : null;
    case "boolean":
      return value;
    case "object":
      break;
    default:
      return null;
  }
  if (value === null) return null;
  if (depth >= MAX_DEPTH) return "[redacted:depth]";
  if (Array.isArray(value)) return redactArray(value, depth, hide);
  // Not assignment: a key called `__proto__` stays a key.
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => {
      const name = redactText(key.slice(0, MAX_STRING_CHARS), hide);
      return member === undefined ? [] : [[name, redactMember(name, member, depth + 1, hide)]];
    }),
  );
}

function redactMember(name: string, value: unknown, depth: number, hide: Hide): Json {
  const holds = nameHolds(name);
  if (holds === "plain" || value === null || typeof value === "boolean" || value === "")
    return redactAt(value, depth, hide);
  if (typeof value === "number" && holds !== "password") return redactAt(value, depth, hide);
  return typeof value === "string" && isPlaceholder(value) ? value : "[redacted:name]";
}

/** As `redactAt` for each, and the word after a flag that takes a secret (`--password x`, `-u user:x`) is one. */
function redactArray(items: readonly unknown[], depth: number, hide: Hide): Json {
  return Array.from(items, (item, at) => {
    const before = at > 0 ? items[at - 1] : undefined;
    if (typeof before !== "string" || typeof item !== "string" || isPlaceholder(item))
      return redactAt(item, depth + 1, hide);
    if (followsSecretFlag(before, item)) return "[redacted:flag]";
    const kept = redactString(item, hide);
    // `user[redacted:github]` looks like user:password, which the token itself did not.
    const looksSecret = typeof kept === "string" && !isPlaceholder(kept) && followsSecretFlag(before, kept);
    return looksSecret ? "[redacted:flag]" : kept;
  });
}

function followsSecretFlag(flag: string, word: string): boolean {
  if (flag.length > 100 || word === "" || /^\$\{?\w+\}?$/.test(word)) return false;
  if (flag === "-u" || flag === "--user" || flag === "--proxy-user") return /^[^:\s]*:(?!\d+$)./.test(word);
  if (!/^--?[A-Za-z][\w.-]*$/.test(flag) || word.startsWith("-")) return false;
  const holds = nameHolds(flag);
  return holds === "password" || (holds === "secret" && !/^\d+$/.test(word));
}

function redactString(text: string, hide: Hide): Json {
  if (text.length <= MAX_STRING_CHARS) return redactText(text, hide);
  const whole = text.toWellFormed();
  return { bytes: Buffer.byteLength(whole), sha256: hash("sha256", whole) };
}

/** The text without the secrets that it names or that have a well-known form. */
export function redactText(text: string, hide: Hide = asItIs): string {
  let clean = hide(text.toWellFormed());
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const before = clean;
    clean = redactOnce(clean);
    if (clean === before) break;
  }
  return clean;
}

function redactOnce(text: string): string {
  let clean = text;
  if (ANY_SECRET.test(clean)) {
    for (const { id, pattern } of SECRET_RULES) clean = clean.replace(pattern, `[redacted:${id}]`);
  }
  return /[=:]/.test(clean) ? redactAssignments(clean) : clean;
}

/** A name and what assigns to it, in any shell, header, query string, YAML, JSON or program: `NAME=`, `name: `, `\"name\": `. */
const ASSIGNMENT = /(?<![\w.-])([A-Za-z_-][\w.-]{0,199})(\\{0,3}["'`])?[ \t]{0,8}(={1,3}>?|:=|\?=|:)[ \t]{0,8}/g;
const HEADER = /^(?:proxy-)?authorization$|^(?:set-)?cookie2?$/i;

/** INVARIANT: linear. A match starts at a name's beginning only, and what is replaced is not looked at again. */
function redactAssignments(text: string): string {
  let kept = "";
  let from = 0;
  ASSIGNMENT.lastIndex = 0;
  for (let found = ASSIGNMENT.exec(text); found; found = ASSIGNMENT.exec(text)) {
    const name = found[1] ?? "";
    const holds = nameHolds(name);
    const start = ASSIGNMENT.lastIndex;
    // `https://…` assigns nothing, and another name may begin right where the value would.
    ASSIGNMENT.lastIndex = found.index + Math.max(1, name.length);
    if (holds === "plain" || (found[3] === ":" && text.startsWith("//", start))) continue;
    const value = valueAt(text, start, found[3] === ":" && HEADER.test(name));
    if (value.text === "" || isPlaceholder(value.text) || isReference(value.text)) continue;
    if (holds === "secret" && /^\d+$/.test(value.text)) continue;
    kept += `${text.slice(from, value.start)}[redacted:name]`;
    from = value.start + value.text.length;
    ASSIGNMENT.lastIndex = from;
  }
  return kept + text.slice(from);
}

/** What stands at `at`: up to its closing quote when it opens with one, the rest of the line for a header, else one word. */
function valueAt(text: string, at: number, header: boolean): { text: string; start: number } {
  const quote = match(/\\{0,3}["'`]/y, text, at);
  const start = at + quote.length;
  if (header) return { start, text: match(/[^\r\n"'`]*/y, text, start) };
  if (quote === "") return { start, text: match(/[^\s"'`&;,|)}]*/y, text, start) };
  if (quote.length > 1) {
    const end = text.indexOf(quote, start);
    return { start, text: text.slice(start, end === -1 ? undefined : end) };
  }
  if (quote === '"') return { start, text: match(/[^"\\]*(?:\\[\s\S][^"\\]*)*/y, text, start) };
  return { start, text: match(quote === "'" ? /[^']*/y : /[^`]*/y, text, start) };
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

function isPlaceholder(value: string): boolean {
  return /^\[redacted:[A-Za-z0-9_-]+\]$/.test(value);
}

/** `$TOKEN`, `${TOKEN}`, `$env:TOKEN`, `%TOKEN%`: where the secret is, not the secret. */
function isReference(value: string): boolean {
  return /^(?:\$\w{1,100}|\$\{\w{1,100}\}|\$env:\w{1,100}|%\w{1,100}%)$/.test(value);
}
