/** A value within a text. */
export interface Span {
  readonly start: number;
  readonly text: string;
}

/** What stands at `at`: up to its closing quote when it opens with one, the rest of the line for a header, else one word. */
export function valueAt(text: string, at: number, header: boolean): Span {
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

/** As a shell joins it: quoted parts, escaped characters and others up to a blank or an operator. Nothing in it can fail behind a long scan. */
const SHELL_WORD =
  /(?:\\[\s\S]?|"[^"\\]*(?:\\[\s\S]?[^"\\]*)*(?:"|$)|'[^']*(?:'|$)|`[^`]*(?:`|$)|,(?!\s)|[^\s"'`\\&;,|)}]+)*/y;
/** An apostrophe between letters ends nothing; what a shell runs next is not hidden. */
const REST_OF_LINE = /(?:[^\r\n"'`;|&]+|(?<=\w)'(?=\w)|&(?!&))*/y;

/**
 * The same of a field that the policy names, which may be no secret's single word: a whole list or object, a shell word with all its
 * quoted parts, or, of `line`, what an unquoted name is given in YAML, a header or a message: the rest of the line.
 */
export function policyValueAt(text: string, at: number, as: "line" | "value" | "word"): Span {
  const first = text[at] ?? "";
  const end = first === "[" || first === "{" ? endOfNested(text, at) : undefined;
  if (end !== undefined) return { start: at, text: text.slice(at, end) };
  if (as === "word" && first !== "\\") return { start: at, text: match(SHELL_WORD, text, at) };
  if (as === "line" && !/["'`\\]/.test(first)) return { start: at, text: match(REST_OF_LINE, text, at).trimEnd() };
  return valueAt(text, at, false);
}

/** What stands at `at` before a quote, or in a text that has none. */
export function valueBefore(text: string, at: number, quote: string): Span {
  const end = text.indexOf(quote, at);
  return { start: at, text: text.slice(at, end === -1 ? undefined : end).replace(/\\{1,3}$/, "") };
}

/** How far a list or object within a text may go; what stands behind many openings must not be read for each of them. */
const MAX_NESTED_CHARS = 4_096;

/** Behind the bracket that closes the one at `at`; undefined when none does. */
function endOfNested(whole: string, at: number): number | undefined {
  const text = whole.slice(at, at + MAX_NESTED_CHARS);
  let depth = 0;
  const token = /"[^"\\]*(?:\\[\s\S]?[^"\\]*)*(?:"|$)|'[^'\\]*(?:\\[\s\S]?[^'\\]*)*(?:'|$)|[[\]{}]/g;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    if (found[0] === "[" || found[0] === "{") depth += 1;
    else if (found[0] === "]" || found[0] === "}") depth -= 1;
    if (depth === 0 && found[0].length === 1) return at + token.lastIndex;
  }
  return undefined;
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}
