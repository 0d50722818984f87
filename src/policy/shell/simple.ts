import { readWord, type Take } from "./word.ts";

/**
 * Reads scripts of which bash makes exactly the words that are written: simple commands of literal words in lists and pipelines. Not a parser
 * of bash but of a small language within it, of which every character is accounted for; whatever else occurs makes the script opaque.
 * Sources: the Bash Reference Manual, "Shell Syntax" and "Shell Expansions", and bash itself, with which a test compares.
 */

/** All but graphic characters, space, tab and newline; and those that nobody sees: marks of direction, joiners, fillers, tags, blank Braille. */
const ILLEGIBLE = /[^\t\n\x20-\x7e\p{L}\p{M}\p{N}\p{P}\p{S}]|\p{Default_Ignorable_Code_Point}|\u2800/u;

/** A line is continued between words alone: within one, or within an operator, what it comes to is hard to see. */
const BLANK = /(?:[ \t]|\\\n)+/y;
const NEWLINE = /\n/y;
const COMMENT = /#[^\n]*/y;
const OPERATOR = /&&|\|\||\|&?|;/y;
/** INVARIANT: not before `<` or `>`, of which the word may be the descriptor (`2>x`), nor before a continued line, with which it may go on. */
const WORD_END = /(?=[ \t\n;|&]|$)/y;
/** To and from nowhere, and standard output and standard error to each other. */
const REDIRECTION = /(?:(?:[12]?>>?|0?<|&>>?)[ \t]*\/dev\/null|[12]?>&[12])(?=[ \t\n;|&]|$)/y;

/** The argvs that bash would run of this script, as they are written; undefined where that cannot be said for certain. */
export function readSimple(script: string): string[][] | undefined {
  if (ILLEGIBLE.test(script)) return undefined;
  const cursor = cursorOf(script);
  const commands: string[][] = [];
  let argv: string[] = [];
  /** After `&&`, `||` and `|` there must be a command, be it on another line. */
  let unfinished = false;
  while (!cursor.ended()) {
    if (cursor.take(BLANK)) continue;
    const comment = cursor.take(COMMENT);
    if (comment?.[0].endsWith("\\")) return undefined;
    if (comment) continue;
    const newline = cursor.take(NEWLINE);
    const operator = newline ? undefined : cursor.take(OPERATOR);
    if (operator && argv.length === 0) return undefined;
    if (newline || operator) {
      if (argv.length > 0) {
        commands.push(argv);
        unfinished = operator !== undefined && operator[0] !== ";";
      }
      argv = [];
      continue;
    }
    if (argv.length > 0 && cursor.take(REDIRECTION)) continue;
    const word = readWord(cursor.take);
    if (word === undefined || !cursor.take(WORD_END)) return undefined;
    argv.push(word);
  }
  if (argv.length > 0) commands.push(argv);
  else if (unfinished) return undefined;
  return commands;
}

function cursorOf(script: string): { readonly take: Take; readonly ended: () => boolean } {
  let at = 0;
  return {
    ended: () => at >= script.length,
    take: (pattern) => {
      pattern.lastIndex = at;
      const match = pattern.exec(script) ?? undefined;
      at += match?.[0].length ?? 0;
      return match;
    },
  };
}
