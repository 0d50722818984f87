import type { Held, Names } from "./names.ts";
import { ANY_SECRET, nameHolds, SECRET_RULES } from "./secrets.ts";
import { policyValueAt, type Span, valueAt, valueBefore } from "./text-value.ts";

/** What stands beside a secret may be one too, and have been no match before that was replaced; two passes are the rule. */
const MAX_PASSES = 8;

/** Replaces values that are known to be secret by `[redacted:<name of the secret>]`, whose name is letters, digits, underscores and dots. */
export type Hide = (text: string) => string;

/** The text without what it names as a secret or as a field of the policy's, and without what has a well-known form. */
export function redactText(text: string, hide: Hide, names: Names): string {
  const clean = redactAll(hide(text.toWellFormed()), nameHolds);
  // INVARIANT: as of `redact`.
  return names === nameHolds ? clean : redactAll(clean, names);
}

function redactAll(text: string, names: Names): string {
  let clean = text;
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const before = clean;
    clean = redactOnce(clean, names);
    if (clean === before) break;
  }
  return clean;
}

function redactOnce(text: string, names: Names): string {
  let clean = text;
  if (ANY_SECRET.test(clean)) {
    for (const { id, pattern } of SECRET_RULES) clean = clean.replace(pattern, `[redacted:${id}]`);
  }
  if (/[=:]/.test(clean)) clean = redactAssignments(clean, names);
  return /(?<![\w-])-[A-Za-z-]/.test(clean) ? redactFlags(clean, names) : clean;
}

/** A name and what assigns to it, in any shell, header, query string, YAML, JSON or program: `NAME=`, `name: `, `\"name\": `, `["name"] = `. */
const ASSIGNMENT = /(?<![\w.-])([A-Za-z_-][\w.-]{0,199})(\\{0,3}["'`])?\]?[ \t]{0,64}(={1,3}>?|:=|\?=|:)[ \t]{0,64}/g;
const HEADER = /^(?:proxy-)?authorization$|^(?:set-)?cookie2?$/i;

/** INVARIANT: linear. A match starts at a name's beginning only, and what is replaced is not looked at again. */
function redactAssignments(text: string, names: Names): string {
  return replaced(text, ASSIGNMENT, (found, start) => {
    const [, name = "", quote, by] = found;
    const held = names(name);
    // `https://…` assigns nothing.
    if (held === "plain" || (by === ":" && text.startsWith("//", start))) return undefined;
    const as = by === ":" ? (quote === undefined ? "line" : "value") : "word";
    if (held === "policy") {
      const opened = quote === undefined ? quoteBefore(text, found.index) : "";
      const span = opened === "" ? policyValueAt(text, start, as) : valueBefore(text, start, opened);
      return isKept(span.text) ? undefined : { ...span, by: held };
    }
    const isHeader = by === ":" && HEADER.test(name);
    const span = as === "value" && !isHeader ? policyValueAt(text, start, as) : valueAt(text, start, isHeader);
    if (isKept(span.text) || (held === "secret" && /^\d+$/.test(span.text))) return undefined;
    return { ...span, by: "name" };
  });
}

/** The quote that a word begins with: `"NAME=a b"`. What a shell is given as a program is no word: a command behind a variable must not be hidden. */
function quoteBefore(text: string, at: number): string {
  const before = text[at - 1] ?? "";
  const isProgram = /(?:^|\s)(?:-[A-Za-z]*c|eval)[\s\\]*["'`]$/.test(text.slice(Math.max(0, at - 20), at));
  return /["'`]/.test(before) && !isProgram ? before : "";
}

/** A flag and the word after it, as a shell or JSON has them: `--name value`, `"--name","value"`. */
const FLAG = /(?<![\w.-])(--?[A-Za-z][\w.-]{0,99})(?:(\\{0,3}["'`]),[ \t]{0,64}|[ \t]{1,64})(?=\S)/g;

/** INVARIANT: as of `redactAssignments`. */
function redactFlags(text: string, names: Names): string {
  return replaced(text, FLAG, (found, start) => {
    const [, flag = "", quote] = found;
    const held = names(flag);
    if (held === "plain" && !isUserFlag(flag)) return undefined;
    const span =
      held === "policy" && quote === undefined ? policyValueAt(text, start, "word") : valueAt(text, start, false);
    if (!followsFlag(flag, held, span.text)) return undefined;
    return { ...span, by: held === "policy" ? held : "flag" };
  });
}

type Find = (found: RegExpExecArray, start: number) => (Span & { readonly by: string }) | undefined;

function replaced(text: string, pattern: RegExp, find: Find): string {
  let kept = "";
  let from = 0;
  pattern.lastIndex = 0;
  for (let found = pattern.exec(text); found; found = pattern.exec(text)) {
    const value = find(found, pattern.lastIndex);
    // Another name may begin right where the value would.
    pattern.lastIndex = found.index + Math.max(1, found[1]?.length ?? 0);
    if (!value) continue;
    kept += `${text.slice(from, value.start)}[redacted:${value.by}]`;
    from = value.start + value.text.length;
    pattern.lastIndex = from;
  }
  return kept + text.slice(from);
}

/** Whether a word after a flag is one that must not be kept. @param held by the flag's name */
export function followsFlag(flag: string, held: Held, word: string): boolean {
  if (flag.length > 100 || isKept(word) || /^\$\{?\w+\}?$/.test(word)) return false;
  if (held === "policy") return true;
  if (isUserFlag(flag)) return /^[^:\s]*:(?!\d+$)./.test(word);
  if (word.startsWith("-")) return false;
  return held === "password" || (held === "secret" && !/^\d+$/.test(word));
}

function isUserFlag(flag: string): boolean {
  return flag === "-u" || flag === "--user" || flag === "--proxy-user";
}

/** Nothing, what was replaced before, or where the secret is rather than the secret. */
function isKept(value: string): boolean {
  return value === "" || isPlaceholder(value) || isReference(value);
}

/** `$TOKEN`, `${TOKEN}`, `$env:TOKEN`, `%TOKEN%`. */
export function isReference(value: string): boolean {
  return /^(?:\$\w{1,100}|\$\{\w{1,100}\}|\$env:\w{1,100}|%\w{1,100}%)$/.test(value);
}

/** What redaction itself writes. INVARIANT: no other text in brackets, which could be the secret. */
export function isPlaceholder(value: string): boolean {
  const [, by] = /^\[redacted:([\w.-]{1,200})\]$/.exec(value) ?? [];
  return by !== undefined && (RULES.has(by) || NAME_OF_SECRET.test(by));
}

const RULES: ReadonlySet<string> = new Set(["name", "flag", "depth", "policy", ...SECRET_RULES.map(({ id }) => id)]);
/** Of the profile's secrets, and of settings that are secret. */
const NAME_OF_SECRET = /^(?:[A-Z_][A-Z0-9_]{0,63}|(?:approvals|logging)\.[\w.-]+)$/;
