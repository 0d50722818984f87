/** Takes what a sticky pattern matches where the script is being read; undefined when nothing does. */
export type Take = (pattern: RegExp) => RegExpExecArray | undefined;

/**
 * Each pattern is a part of a word whose meaning depends on nothing but itself, by the Bash Reference Manual's "Quoting".
 * `$'…'`, `$"…"`, expansions and patterns are none of them.
 */
const SINGLE_QUOTED = /'([^']*)'/y;
/** A `$` that can begin nothing is itself, as in `"price$"` and `"^a$|b"`. */
const DOUBLE_QUOTED = /"((?:[^"\\$`]|\\[\s\S]|\$(?=[" |)]))*)"/y;
const ESCAPED = /\\([\x20-\x7e])/y;
/**
 * INVARIANT: no `*?[` (patterns), no `{}` but git's `@{1}` (no comma, no `..`), no `~` but within a name (`HEAD~1`; after `=` and `:` it may
 * be a home), no `$` but before a blank. The characters looked back at are the script's, so that a quote or a blank is no name.
 */
const BARE =
  /(?:[A-Za-z0-9_./:=@%+,^!\]-]|[\u0080-\uffff]|(?<=[A-Za-z0-9_^~])~|(?<=@)\{[A-Za-z0-9-]*\}|\$(?=[ \t\n]|$))+/y;
/** At a word's beginning it would begin a comment. */
const HASH = /#/y;

/** The word that is written here, without its quotes; undefined when there is none, or its meaning isn't certain. */
export function readWord(take: Take): string | undefined {
  let word: string | undefined;
  for (;;) {
    const part = readPart(take, word !== undefined);
    if (part === undefined) return word;
    word = (word ?? "") + part;
  }
}

function readPart(take: Take, within: boolean): string | undefined {
  const bare = take(BARE) ?? (within ? take(HASH) : undefined);
  if (bare) return bare[0];
  const literal = take(SINGLE_QUOTED) ?? take(ESCAPED);
  if (literal) return literal[1];
  return take(DOUBLE_QUOTED)?.[1]?.replace(/\\([$`"\\\n])/g, (_, escaped: string) => escaped.replace("\n", ""));
}
