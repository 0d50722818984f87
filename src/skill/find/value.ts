import type { Value } from "../parameters.ts";
import type { Parameter } from "../skill.ts";
import type { Piece } from "./piece.ts";
import { extensionOf, type Shape } from "./shape.ts";
import { type Slot, TIMES } from "./slot.ts";
import { stem } from "./stem.ts";

const NUMBER_WORDS: ReadonlyMap<string, number> = new Map(
  [
    "one two three four five six seven eight nine ten eleven twelve",
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty",
  ]
    .flatMap((it) => it.split(" "))
    .map((word, index) => [word, index + 1] as const),
);
/** Branches that have no name's look: teams call them so. */
const BRANCHES = new Set(["main", "master", "develop", "trunk"]);

/** What a text must be said to be, in its name or description, for a piece of this look to be meant for it. */
const SAID: Readonly<Partial<Record<Shape, readonly string[]>>> = {
  ref: ["branch", "tag", "commit", "revision", "ref"],
  version: ["version", "tag", "release", "commit", "ref"],
  path: ["file", "directory", "folder", "path", "module", "glob"],
  host: ["host", "domain", "site", "server", "module"],
  url: ["url", "link", "remote"],
  tag: ["channel", "hashtag", "label"],
  id: ["id"],
  package: ["package", "dependency", "library", "module"],
  date: ["date", "day", "since", "after", "before", "until"],
  option: ["argument", "option", "flag"],
};
const SAID_STEMS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(SAID).map(([kind, words]) => [kind, words.map(stem)]),
);
const PATHS: ReadonlySet<string> = new Set(SAID_STEMS.get("path"));
const MIN_PROSE_CHARS = 1_000;

/**
 * What a piece is as a value of a parameter; undefined when it is none, by its look or by what the parameter permits. A word that is no value
 * by its look is one where the request says whose name it is (`isNamed`: "a table called users").
 */
export function valueFrom(piece: Piece, slot: Slot, isNamed: boolean): Value | undefined {
  const value = candidate(isNamed && piece.kind === "word" ? { ...piece, kind: "name" } : piece, slot);
  // What the parameter gets in the end is the value's one spelling; a person recognises their own.
  return value !== undefined && slot.field.safeParse(value).success ? value : undefined;
}

function candidate(piece: Piece, slot: Slot): Value | undefined {
  const { kind, text } = piece;
  switch (slot.parameter.type.kind) {
    case "integer":
      return kind === "integer" ? Number(text.replaceAll(",", "")) : numberOf(piece);
    case "url":
      return urlOf(piece);
    case "host":
      return kind === "host" ? text.replace(/\/.*$/, "") : undefined;
    case "path":
      return isPath(piece) && !(slot.isDirectory && extensionOf(text) !== undefined) ? text : undefined;
    case "string":
      return isMeant(piece, slot) ? text : undefined;
    case "strings":
      return isMeant(piece, slot) ? [text] : undefined;
    case "boolean":
    case "enum":
      return undefined;
  }
}

/** Who names a site without `https://` means it so. The part of a page is nothing that its server is told. */
function urlOf({ kind, text }: Piece): string | undefined {
  if (kind === "url") return text.replace(/#.*$/, "");
  return kind === "host" ? `https://${text.replace(/#.*$/, "")}` : undefined;
}

function isPath({ kind, text }: Piece): boolean {
  return (
    kind === "path" ||
    (kind === "quoted" && (text.includes("/") || extensionOf(text) !== undefined) && !text.includes("\n"))
  );
}

/** `twenty` */
export function numberOf({ kind, text }: Piece): number | undefined {
  return kind === "word" ? NUMBER_WORDS.get(text.toLowerCase()) : undefined;
}

/** A branch that has no look of its own. */
export function isBranch({ kind, text }: Piece): boolean {
  return kind === "word" && BRANCHES.has(text);
}

function isMeant(piece: Piece, { parameter, names, said }: Slot): boolean {
  const { kind } = piece;
  if (kind === "quoted" || kind === "name") return true;
  if (kind === "text") return isProse(parameter);
  const look = isBranch(piece) ? "ref" : kind;
  const words = SAID_STEMS.get(look) ?? [];
  // A path is none of the commits that its description speaks of, nor a time; `package.json` is none of the packages.
  const isSure =
    look === "path" || look === "date" || !(TIMES.has(parameter.name) || names.some((it) => PATHS.has(it)));
  return words.some((it) => names.includes(it) || (isSure && look !== "package" && said.has(it)));
}

/** Whether any text will do, and it must be given: what is short is a name. */
function isProse({ type, required }: Parameter): boolean {
  return type.kind === "string" && required && type.pattern === undefined && type.maxLength >= MIN_PROSE_CHARS;
}
