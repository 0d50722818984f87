import type { Piece } from "./piece.ts";
import { extensionOf } from "./shape.ts";
import { isStopWord, wordsOf } from "./stem.ts";
import { numberOf } from "./value.ts";

const PAGES = new Set(["html", "htm", "php", "asp", "aspx", "jsp"]);

/**
 * What a text is ranked by: its words and, for what is a value by its looks, its kind alone, so that neither `/workspace/slack/test.py` nor
 * `https://slack.example` speaks of Slack. Kinds are in angle brackets, which no word has.
 */
export function termsOf(piece: Piece): string[] {
  const { kind, text } = piece;
  if (numberOf(piece) !== undefined) return [];
  switch (kind) {
    case "word":
    case "label":
      return wordsOf(text).filter((it) => !isStopWord(it) && !/^\d+$/.test(it));
    case "path":
      return pathTerms(text);
    case "quoted":
      // What is in quotes says with what something is done, not what.
      return extensionOf(text) === undefined ? [] : pathTerms(text);
    case "url":
      return urlTerms(text);
    case "host":
      return ["<host>", "<url>"];
    case "mail":
    case "version":
    case "package":
    case "ref":
    case "tag":
    case "id":
      return [`<${kind}>`];
    case "text":
    case "integer":
    case "date":
    case "name":
    case "option":
      return [];
  }
}

/**
 * Neighbours as terms of their own: "which branch" says more than its words do, one of which is in most sentences, and "html to markdown" another
 * thing than "markdown to html". A text of one word is a phrase too.
 */
export function phrasesOf(pieces: readonly Piece[], termOf: (word: string) => string): string[] {
  const words = pieces.flatMap((piece) =>
    piece.kind === "word" || piece.kind === "label" ? wordsOf(piece.text) : termsOf(piece).slice(0, 1),
  );
  const contents = words.filter((it) => !isStopWord(it));
  if (words.length === 1) return contents.map((it) => `^+${termOf(it)}+$`);
  const pairs = [...pairsOf(words), ...pairsOf(contents)].filter((pair) =>
    pair.some((it) => !isStopWord(it) && !isKind(it)),
  );
  return [...new Set(pairs.map((pair) => pair.map((it) => (isStopWord(it) ? it : termOf(it))).join("+")))];
}

function pairsOf(words: readonly string[]): [string, string][] {
  return words.slice(1).map((word, index) => [words[index] ?? "", word]);
}

/** Whether a term is the ending of a file's name. */
export function isEnding(term: string): boolean {
  return term.startsWith("<.");
}

/** Whether a term is a value's kind. */
export function isKind(term: string): boolean {
  return term.startsWith("<");
}

/** A file that is somewhere is not a page: one is downloaded, the other read. */
function urlTerms(url: string): string[] {
  const path = /^[^:]*:\/\/[^/]*(\/[^?#]*)?/.exec(url)?.[1] ?? "";
  const extension = extensionOf(path);
  return extension === undefined || PAGES.has(extension) ? ["<url>"] : ["<url-of-file>", `<.${extension}>`];
}

function pathTerms(path: string): string[] {
  const extension = extensionOf(path);
  if (extension === undefined) return ["<path>"];
  const name = path.slice(path.lastIndexOf("/") + 1);
  return ["<path>", `<.${extension}>`, `<${name.toLowerCase().replaceAll(/\s/g, "_")}>`];
}
