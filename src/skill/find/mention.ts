import type { Placed } from "./cue.ts";
import type { Piece } from "./piece.ts";
import type { Slot } from "./slot.ts";
import { isStopWord, stem, stemsOf } from "./stem.ts";

const AS = new Set(["as", "to", "into", "in"]);
const NOT = new Set(["no", "not", "without", "don't", "dont", "never", "skip"]);
const WITH = new Set(["with", "and", "but", "also", "use", "using", "including", "include", "plus"]);
const TRUTHS: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["yes", true],
  ["on", true],
  ["false", false],
  ["no", false],
  ["off", false],
]);

/** What a request says of a choice or of a yes or no, which have no value of their own in it but a word: "bar chart", "with log scale". */
export function mentioned(slot: Slot, all: readonly Slot[], places: readonly Placed[]): string | boolean | undefined {
  const { type } = slot.parameter;
  if (type.kind === "enum") return choiceOf(type.values, all, places);
  return type.kind === "boolean" ? truthOf(slot, places) : undefined;
}

/** The one value that is mentioned; of several the one that something is to become. */
function choiceOf(values: readonly string[], all: readonly Slot[], places: readonly Placed[]): string | undefined {
  // In "the rows of this csv" `csv` is what there is, not what is wanted: a file of a parameter is one.
  const given = all
    .flatMap(({ parameter }) => (parameter.type.kind === "path" ? [parameter.description] : []))
    .join(" ");
  const byStems = new Map(values.map((it) => [stemsOf(it).join(" "), it]));
  const mentions = places.flatMap(({ piece, before, isLabelled }) => {
    const value = isSaid(piece) || piece.kind === "name" ? byStems.get(stemsOf(piece.text).join(" ")) : undefined;
    return value === undefined ? [] : [{ value, isWanted: isLabelled || AS.has(before) }];
  });
  const wanted = mentions.filter((it) => it.isWanted);
  const meant = wanted.length > 0 ? wanted : mentions.filter((it) => !isFormatIn(it.value, given));
  const [choice, ...others] = new Set(meant.map((it) => it.value));
  return others.length === 0 ? choice : undefined;
}

/** Whether a text has it as formats are written: `.csv`, `CSV`, `Markdown`. */
function isFormatIn(value: string, text: string): boolean {
  const words = text.split(/[\s,;:]+/).map((it) => it.replace(/\.$/, ""));
  const name = `${value.slice(0, 1).toUpperCase()}${value.slice(1)}`;
  return [`.${value}`, value.toUpperCase(), name].some((it) => words.includes(it));
}

/** A yes or no is said by its name, where what is around shows that the name means it: "with", "no", another word of its description. */
function truthOf({ names, described }: Slot, places: readonly Placed[]): boolean | undefined {
  const truths = places.flatMap(({ piece, before }, index): boolean[] => {
    const length = piece.kind === "word" ? names.length : 1;
    const named = places.slice(index, index + length).map((it) => it.piece.text);
    if (stemsOf(named.join(" ")).join(" ") !== names.join(" ")) return [];
    if (piece.kind === "option") return [true];
    if (piece.kind === "label") return [TRUTHS.get(places[index + 1]?.piece.text.toLowerCase() ?? "") ?? []].flat();
    if (piece.kind !== "word") return [];
    if (NOT.has(before)) return [false];
    const isAround = [before, contentAfter(places, index + length - 1)].some((it) => described.has(stem(it)));
    return WITH.has(before) || names.length > 1 || isAround ? [true] : [];
  });
  const [truth, ...others] = new Set(truths);
  return others.length === 0 ? truth : undefined;
}

/** The next word that means something by itself. */
function contentAfter(places: readonly Placed[], index: number): string {
  const after = places[index]?.after ?? "";
  return isStopWord(after) ? (places[index + 1]?.after ?? "") : after;
}

function isSaid({ kind }: Piece): boolean {
  return kind === "word" || kind === "label";
}
