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

const REST = { line: REST_OF_LINE, value: /[^\s"'`&;,|)}]*/y, word: SHELL_WORD };

/**
 * The same of what may be no single word: a whole list or object with what is joined to it, a shell word with all its
 * quoted parts, or, of `line`, what an unquoted name is given in YAML, a header or a message: the rest of the line.
 */
export function policyValueAt(text: string, at: number, as: keyof typeof REST): Span {
  if ((as === "word" ? /\\/ : /["'`\\]/).test(text[at] ?? "")) return valueAt(text, at, false);
  const end = endOfNested(text, at);
  return { start: at, text: text.slice(at, end + match(REST[as], text, end).length).trimEnd() };
}

/** What stands at `at` before a quote, or in a text that has none. */
export function valueBefore(text: string, at: number, quote: string): Span {
  const end = text.indexOf(quote, at);
  return { start: at, text: text.slice(at, end === -1 ? undefined : end).replace(/\\{1,3}$/, "") };
}

/** Behind the bracket that closes the one at `at`; the end of the text when none does, so that nothing is read twice; `at` when there is no bracket. */
function endOfNested(text: string, at: number): number {
  let depth = 0;
  const token = /"[^"\\]*(?:\\[\s\S]?[^"\\]*)*(?:"|$)|'[^'\\]*(?:\\[\s\S]?[^'\\]*)*(?:'|$)|[[\]{}]/g;
  if (!/[[{]/.test(text[at] ?? "")) return at;
  token.lastIndex = at;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    if (found[0] === "[" || found[0] === "{") depth += 1;
    else if (found[0] === "]" || found[0] === "}") depth -= 1;
    if (depth === 0) return token.lastIndex;
  }
  return text.length;
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}
