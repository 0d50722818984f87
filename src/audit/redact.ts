import { hash } from "node:crypto";
import { parseJson } from "../lib/json.ts";
import type { DigestKey } from "./digest-key.ts";
import type { Names } from "./names.ts";
import type { Json } from "./record.ts";
import { followsFlag, type Hide, isPlaceholder, isReference, redactText } from "./redact-text.ts";
import { nameHolds } from "./secrets.ts";

/** A longer string is a body, not an argument: its size and digest are kept. UTF-16 code units. */
export const MAX_STRING_CHARS = 16_384;
const MAX_DEPTH = 64;

/** How a secret and what policy names are found, besides by well-known forms. */
export interface RedactOptions {
  /** Values that are known. */
  readonly hide?: Hide;
  /** What a name says of its value. Left out: by the rules for secrets alone. */
  readonly names?: Names;
  /** With it, the digest of a string that is too long is a keyed one. */
  readonly key?: DigestKey;
}

type Rules = Required<Omit<RedactOptions, "key">> & Pick<RedactOptions, "key">;

/**
 * The value as the log may keep it: secrets replaced by `[redacted:<rule>]`, fields that the policy names by `[redacted:policy]`, lone surrogates by
 * U+FFFD, strings over 16 Ki by their size and digest, nesting past 64 cut, what JSON can't say by null. Finds a secret by the name it goes under (key,
 * variable, flag, header) and by well-known form; one that has neither is found by `hide` only, which replaces the values that are known. Total, idempotent, linear time.
 */
export function redact(value: unknown, { hide = asItIs, names = nameHolds, key }: RedactOptions = {}): Json {
  const clean = redactAt(value, 0, { hide, names: nameHolds, ...(key && { key }) });
  // INVARIANT: a policy's names take more out of what is left, and can't make a secret unrecognisable before it is looked for.
  return names === nameHolds ? clean : redactAt(clean, 0, { hide: asItIs, names, ...(key && { key }) });
}

function asItIs(text: string): string {
  return text;
}

function redactAt(value: unknown, depth: number, rules: Rules): Json {
  switch (typeof value) {
    case "string":
      return redactString(value, rules);
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
  if (Array.isArray(value)) return redactArray(value, depth, rules);
  const unused = createUnused();
  // Not assignment: a key called `__proto__` stays a key.
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => {
      if (member === undefined) return [];
      // As one who is asked sees an argument: a name, and the value as text.
      const isShown = key === "text" && "label" in value && rules.names(key) === "plain";
      const of = isShown && typeof value.label === "string" ? shownName(value.label) : key;
      const name = unused(redactText(key.slice(0, MAX_STRING_CHARS), rules.hide, rules.names));
      return [[name, redactMember(of === key ? name : of, member, depth + 1, rules)]];
    }),
  );
}

/** Makes names of members differ that are the same after redaction: else only the last of them would be kept. */
function createUnused(): (name: string) => string {
  const times = new Map<string, number>();
  return (name) => {
    let [unused, count] = [name, times.get(name) ?? 0];
    while (times.has(unused)) {
      count += 1;
      unused = `${name} (${count})`;
    }
    times.set(name, count).set(unused, times.get(unused) ?? 0);
    return unused;
  };
}

/** `argument customerId` is how an approver is shown a skill's parameter. Not of a label that is no name, as one that was redacted. */
function shownName(label: string): string {
  return /^(?:argument )?([A-Za-z_][\w.-]{0,199})$/.exec(label)?.[1] ?? "text";
}

function redactMember(name: string, value: unknown, depth: number, rules: Rules): Json {
  const held = rules.names(name);
  if (held === "policy" && value !== null) return isKept(value) ? value : "[redacted:policy]";
  if (held === "plain" || value === null || typeof value === "boolean" || value === "")
    return redactAt(value, depth, rules);
  if (typeof value === "number" && held !== "password") return redactAt(value, depth, rules);
  return isKept(value) ? value : "[redacted:name]";
}

function isKept(value: unknown): value is string {
  return typeof value === "string" && isPlaceholder(value);
}

/** As `redactAt` for each, and the word after a flag that takes a secret (`--password x`, `-u user:x`) is one. */
function redactArray(items: readonly unknown[], depth: number, rules: Rules): Json {
  return Array.from(items, (item, at) => {
    const before = at > 0 ? items[at - 1] : "";
    if (typeof before !== "string" || isKept(item)) return redactAt(item, depth + 1, rules);
    const held = isFlag(before) ? rules.names(before) : "plain";
    if (held === "policy" && item !== null && item !== "") return "[redacted:policy]";
    if (typeof item !== "string") return redactAt(item, depth + 1, rules);
    if (followsFlag(before, held, item)) return "[redacted:flag]";
    const kept = (isWord(before, item, items[0]) ? redactWord(item, rules) : undefined) ?? redactString(item, rules);
    // `user[redacted:github]` looks like user:password, which the token itself did not.
    const looksSecret = typeof kept === "string" && !isPlaceholder(kept) && followsFlag(before, held, kept);
    return looksSecret ? "[redacted:flag]" : kept;
  });
}

function isFlag(word: string): boolean {
  return word.length <= 100 && /^--?[A-Za-z][\w.-]*$/.test(word);
}

function redactString(text: string, rules: Rules): Json {
  const { hide, names, key } = rules;
  if (text.length <= MAX_STRING_CHARS) return redactText(redactArgv(text, rules), hide, names);
  return digestOf(text.toWellFormed(), key);
}

/** An argv as JSON, which policy and approvers see: word by word, as where it is one. */
function redactArgv(text: string, rules: Rules): string {
  if (!text.startsWith('["') || !text.endsWith('"]')) return text;
  const argv = parseJson(text);
  if (!Array.isArray(argv) || !argv.every((it) => typeof it === "string")) return text;
  const kept = redactArray(argv, 0, rules);
  return JSON.stringify(kept) === JSON.stringify(argv) ? text : JSON.stringify(kept);
}

/** Whether it may be `NAME=value` with blanks in the value: a flag, or behind one or `env`, and never the program of a shell's `-c`. */
function isWord(before: string, word: string, program: unknown): boolean {
  if (/^-[A-Za-z]*c$/.test(before)) return false;
  return (
    /^--?[A-Za-z]/.test(word) ||
    /^-[\w-]*$/.test(before) ||
    (typeof program === "string" && /(?:^|\/)env$/.test(program))
  );
}

/** Of `NAME=value`, where the policy names it: all that stands behind the name is the value, unless it could be commands. */
function redactWord(word: string, { names }: Rules): string | undefined {
  const [, name = "", value = ""] = /^(-{0,2}[A-Za-z_][\w.-]{0,199})=([^;|<>`]+)$/.exec(word) ?? [];
  if (name === "" || names(name) !== "policy" || /^\s*\[redacted:/.test(value) || isReference(value)) return undefined;
  return `${name}=[redacted:policy]`;
}

/** What the log keeps of a text in place of it. Nobody outside has to name it, so that its digest is keyed whatever its size. */
export function digestOf(text: string, key: DigestKey | undefined): Json {
  const sha256 = hash("sha256", text);
  const bytes = Buffer.byteLength(text);
  return key ? { bytes, hmacSha256: key.keyed(sha256) } : { bytes, sha256 };
}
