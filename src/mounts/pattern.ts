/**
 * Patterns as `.gitignore` has them, matched in time that grows with pattern times name: both may be an agent's, and a regular expression
 * can be made to take hours. `?` stands for a character, where git takes a byte.
 */
export interface Patterns {
  /** What the last pattern that matches says of the path itself; `undefined` when none does. Parents are the caller's to ask about. */
  match(names: readonly string[], isDirectory: boolean): "yes" | "no" | undefined;
}

interface Pattern {
  readonly negated: boolean;
  readonly directoryOnly: boolean;
  readonly parts: readonly Part[];
}

/** `**`: any number of names. Otherwise what one name must be. */
type Part = "**" | readonly Token[];
type Token = "*" | "?" | { readonly literal: string } | { readonly class: readonly Range[]; readonly negated: boolean };
type Range = readonly [from: string, to: string];

/** One pattern a line; empty lines and those that begin with `#` are none, and neither is one that git could not read. */
export function parsePatterns(lines: readonly string[], fold: (text: string) => string = (it) => it): Patterns {
  const patterns = lines.flatMap((line) => parse(fold(line))).toReversed();
  return {
    match: (names, isDirectory) => {
      const folded = names.map((it) => [...fold(it)]);
      const last = patterns.find((it) => (isDirectory || !it.directoryOnly) && matchParts(it.parts, folded));
      return last && (last.negated ? "no" : "yes");
    },
  };
}

/** Whether the patterns match the path or a directory that it lies in. */
export function covers(patterns: Patterns, names: readonly string[], isDirectory: boolean): boolean {
  return names.some((_name, at) => {
    const isLast = at === names.length - 1;
    return patterns.match(names.slice(0, at + 1), !isLast || isDirectory) === "yes";
  });
}

function parse(line: string): Pattern[] {
  let text = line.replace(/\r$/, "");
  // Trailing spaces count only when quoted.
  while (text.endsWith(" ") && !/(^|[^\\])(\\\\)*\\ $/.test(text)) text = text.slice(0, -1);
  if (text === "" || text.startsWith("#")) return [];
  const negated = text.startsWith("!");
  if (negated) text = text.slice(1);
  const directoryOnly = text.endsWith("/");
  if (directoryOnly) text = text.slice(0, -1);
  const anchored = text.includes("/");
  const names = (text.startsWith("/") ? text.slice(1) : text).split("/");
  if (names.some((it) => it === "")) return [];
  const parts: Part[] = anchored ? [] : ["**"];
  for (const name of names) {
    const tokens = name === "**" && anchored ? name : tokensOf(name);
    if (!tokens) return [];
    if (tokens !== "**" || parts.at(-1) !== "**") parts.push(tokens);
  }
  return [{ negated, directoryOnly, parts }];
}

function tokensOf(text: string): readonly Token[] | undefined {
  const chars = [...text];
  const tokens: Token[] = [];
  for (let at = 0; at < chars.length; at += 1) {
    const char = chars[at] ?? "";
    if (char === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (char === "?") tokens.push("?");
    else if (char === "[") {
      const found = classAt(chars, at);
      if (!found) return undefined;
      tokens.push(found.token);
      at = found.end;
    } else if (char === "\\") {
      at += 1;
      const literal = chars[at];
      if (literal === undefined) return undefined;
      tokens.push({ literal });
    } else tokens.push({ literal: char });
  }
  return tokens;
}

const POSIX: Readonly<Record<string, readonly Range[]>> = {
  alpha: [
    ["a", "z"],
    ["A", "Z"],
  ],
  digit: [["0", "9"]],
  alnum: [
    ["a", "z"],
    ["A", "Z"],
    ["0", "9"],
  ],
  lower: [["a", "z"]],
  upper: [["A", "Z"]],
  space: [
    ["\t", "\r"],
    [" ", " "],
  ],
};

/** A character class `[…]` that begins at `start`; nothing when it has no end. */
function classAt(chars: readonly string[], start: number): { token: Token; end: number } | undefined {
  const ranges: Range[] = [];
  const negated = chars[start + 1] === "!" || chars[start + 1] === "^";
  const first = start + (negated ? 2 : 1);
  for (let at = first; at < chars.length; at += 1) {
    if (chars[at] === "]" && at > first) return { token: { class: ranges, negated }, end: at };
    const named = /^\[:(\w*):\]/.exec(chars.slice(at, at + 12).join(""));
    if (named) {
      const known = POSIX[named[1] ?? ""];
      if (!known) return undefined;
      ranges.push(...known);
      at += named[0].length - 1;
      continue;
    }
    if (chars[at] === "\\") at += 1;
    const from = chars[at];
    if (from === undefined) return undefined;
    if (chars[at + 1] === "-" && chars[at + 2] !== undefined && chars[at + 2] !== "]") {
      at += chars[at + 2] === "\\" ? 3 : 2;
      const to = chars[at];
      if (to === undefined) return undefined;
      ranges.push([from, to]);
    } else ranges.push([from, from]);
  }
  return undefined;
}

/** `**` at the end takes at least one name. Tries each place once: a later `**` makes an earlier one's choice final. */
function matchParts(parts: readonly Part[], names: readonly (readonly string[])[]): boolean {
  let part = 0;
  let name = 0;
  let again: { part: number; name: number } | undefined;
  while (name < names.length) {
    const current = parts[part];
    if (current === "**") {
      if (part === parts.length - 1) return true;
      part += 1;
      again = { part, name };
    } else if (current && matchName(current, names[name] ?? [])) {
      part += 1;
      name += 1;
    } else if (again) {
      again = { part: again.part, name: again.name + 1 };
      ({ part, name } = again);
    } else return false;
  }
  return part === parts.length;
}

function matchName(tokens: readonly Token[], chars: readonly string[]): boolean {
  let token = 0;
  let char = 0;
  let again: { token: number; char: number } | undefined;
  while (char < chars.length) {
    const current = tokens[token];
    if (current === "*") {
      token += 1;
      again = { token, char };
    } else if (current && matchChar(current, chars[char] ?? "")) {
      token += 1;
      char += 1;
    } else if (again) {
      again = { token: again.token, char: again.char + 1 };
      ({ token, char } = again);
    } else return false;
  }
  while (tokens[token] === "*") token += 1;
  return token === tokens.length;
}

function matchChar(token: Exclude<Token, "*">, char: string): boolean {
  if (token === "?") return true;
  if ("literal" in token) return token.literal === char;
  return token.class.some(([from, to]) => from <= char && char <= to) !== token.negated;
}
