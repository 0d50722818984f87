/**
 * Patterns of parameters: ECMAScript with the flag `u`. They are tried on text that an agent chooses, so that one whose time could grow
 * exponentially would let it stop the gateway; and some are relied on to keep a value from being an option.
 */

const MAX_CHARS = 500;

const TOKEN =
  /\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[A-Za-z]|k<[^>]*>|\d+|[\s\S])|\[(?:\\[\s\S]|[^\]\\])*\]|\((?:\?(?:[:=!]|<[=!]|<[^>]*>|[ims-]+:))?|[*+?]\??|\{\d+(?:,\d*)?\}\??|[\s\S]/gu;
const QUANTIFIER = /^(?:[*+?]|\{\d)/;
/** Quantifiers after which a thing is there more than once, and those after which it may not be there. */
const REPEATS = /^(?:[*+]|\{(?:\d+,\}|\d*,?(?:[2-9]|\d{2,})\}))/;
const MAY_BE_NONE = /^(?:[*?]|\{0+[,}])/;
const FIXED = /^\{\d+\}$/;
const ASSERTION = /^(?:[$^]|\\[bB])$/;

/** What matches texts that the pattern matches from the first character to the last. */
export function wholeText(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, "u");
}

/** What is wrong with a pattern; undefined when nothing is. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.length > MAX_CHARS) return `is longer than ${MAX_CHARS} characters`;
  if (!compiles(pattern)) return "is no regular expression of ECMAScript with the flag `u`";
  const tokens = pattern.match(TOKEN) ?? [];
  if (tokens.some((it) => /^\\(?:[1-9]|k<)/.test(it))) return "refers back to a group, which can take for ever";
  const opened: number[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.startsWith("(")) opened.push(index);
    if (token !== ")") continue;
    const body = tokens.slice((opened.pop() ?? 0) + 1, index);
    if (REPEATS.test(tokens[index + 1] ?? "") && !isUnambiguous(body)) {
      return "repeats a group that can match the same text in several ways, which can take for ever";
    }
  }
  return undefined;
}

/** By itself, too: `a)|(b` would be two halves of what it is put into. */
function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern, "u");
    wholeText(pattern);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/**
 * Whether there is one way only to divide a text into repetitions of this: all of its own length, or each with a character at its beginning or end that
 * is nowhere else in it.
 */
function isUnambiguous(body: readonly string[]): boolean {
  if (body.some((it) => it === "|" || it.startsWith("("))) return false;
  if (body.every((it) => !QUANTIFIER.test(it) || FIXED.test(it))) return true;
  return separates(body[0], body.slice(1)) || separates(body.at(-1), body.slice(0, -1));
}

function separates(separator: string | undefined, rest: readonly string[]): boolean {
  const character = literalOf(separator ?? "");
  if (character === undefined || QUANTIFIER.test(rest[0] ?? "")) return false;
  return rest.every((it) => QUANTIFIER.test(it) || ASSERTION.test(it) || !matches(it, character));
}

/** The character that a token stands for, if it is one. */
function literalOf(token: string): string | undefined {
  if (/^\\[^\w]$/u.test(token)) return token.slice(1);
  return /^[^\\[\](){}|^$.*+?]$/u.test(token) ? token : undefined;
}

/** Whether an atom (a character, a class, an escape) matches a character. */
function matches(atom: string, character: string): boolean {
  return new RegExp(`^${atom}$`, "u").test(character);
}

/**
 * Whether a text that the pattern matches may begin with `-`. Where that is hard to say it may: only patterns that begin with `(?!-)`, or with a
 * character or a class that is no `-`, are known not to.
 */
export function mayBeginWithDash(pattern: string): boolean {
  const [first = "", second = "", third = ""] = withoutStart(pattern.match(TOKEN) ?? []);
  if (hasAlternatives(pattern)) return true;
  if (first === "(?!") return second !== "-" || third !== ")";
  const isAtom = !/^[(|^$]/.test(first) && first !== "" && !ASSERTION.test(first);
  return !isAtom || MAY_BE_NONE.test(second) || matches(first, "-");
}

function withoutStart(tokens: readonly string[]): readonly string[] {
  return tokens[0] === "^" ? tokens.slice(1) : tokens;
}

/** At the outermost level, where each has a beginning of its own. */
function hasAlternatives(pattern: string): boolean {
  let depth = 0;
  for (const token of pattern.match(TOKEN) ?? []) {
    if (token.startsWith("(")) depth += 1;
    if (token === ")") depth -= 1;
    if (token === "|" && depth === 0) return true;
  }
  return false;
}
