import type { Piece } from "./piece.ts";
import { extensionOf } from "./shape.ts";
import { type Slot, TIMES } from "./slot.ts";
import { isStopWord, stem, wordsOf } from "./stem.ts";

const CALLED: ReadonlySet<string> = new Set(["called", "named"]);
const INTO: ReadonlySet<string> = new Set(["to", "into", "as"]);
const OUTPUTS: ReadonlySet<string> = new Set(["out", "output", "target", "destination"].map(stem));
/** What people count off with: "the last 3 commits", "limit 5". */
const AMOUNTS: ReadonlySet<string> = new Set("top first last latest newest recent limit max maximum most".split(" "));
const AMOUNT_STEMS = ["limit", "count", "top", "most", "many", "max", "maximum"].map(stem);
/** Beside those that say nothing by themselves: "a table out of a.csv". */
const PREPOSITIONS: ReadonlySet<string> = new Set(["out", "up", "off"]);
const UNITS: ReadonlySet<string> = new Set(
  "ms second seconds minute minutes hour hours day days weeks months years kb mb gb kib mib gib percent".split(" "),
);

/** A piece and the words around it in lower case, "" where a sentence or a part of one begins or ends, or a value is. */
export interface Placed {
  readonly piece: Piece;
  /** Right before it. */
  readonly before: string;
  /** Before that. */
  readonly earlier: string;
  readonly after: string;
  readonly isLabelled: boolean;
}

export function placed(pieces: readonly Piece[]): readonly Placed[] {
  return pieces.map((piece, index) => {
    const [last, first] = [pieces[index - 1], pieces[index - 2]];
    const before = last && !last.ends ? last : undefined;
    return {
      piece,
      before: before ? wordOf(before, -1) : "",
      earlier: before && first && !first.ends ? wordOf(first, -1) : "",
      after: piece.ends ? "" : wordOf(pieces[index + 1], 0),
      isLabelled: last?.kind === "label",
    };
  });
}

function wordOf(piece: Piece | undefined, at: 0 | -1): string {
  return piece?.kind === "word" || piece?.kind === "label" ? (wordsOf(piece.text).at(at) ?? "") : "";
}

/** Whether the words before a piece say whose name it is: "a table called users", "table: users". */
export function isNamed({ before, earlier, isLabelled }: Placed, { names }: Slot): boolean {
  if (isLabelled) return names.length === 1 && stem(before) === names[0];
  return CALLED.has(before) && (names.includes("name") || names.includes(stem(earlier)));
}

/** Whether a word before a piece says that it's another thing's name: `the table "users"`. */
export function isNamedOtherwise({ before, earlier }: Placed): boolean {
  return before !== "" && !isStopWord(before) && earlier !== "";
}

/**
 * How much the words around a piece speak for a parameter: most its name next to the piece, less a word of its description. `undefined` where
 * they speak against it.
 */
export function cueOf(place: Placed, slot: Slot): number | undefined {
  const { before, earlier, after } = place;
  const { text } = place.piece;
  const { names, described, parameter } = slot;
  const isKnown = (word: string) => names.includes(stem(word)) || described.has(stem(word));
  // What is since a commit doesn't begin there, and "30 seconds" are no rows.
  if (TIMES.has(before) ? !isKnown(before) && !isKnown("after") : UNITS.has(after) && !isKnown(after)) return undefined;
  const isPreposition = isStopWord(parameter.name) || PREPOSITIONS.has(parameter.name);
  // "The table for six" is no table of six rows.
  const isNumber = parameter.type.kind === "integer";
  const extension = extensionOf(text);
  const cues: readonly (readonly [holds: boolean, weight: number])[] = [
    [isNamed(place, slot), 4],
    [names.includes(stem(before)), 3],
    [!isPreposition && isStopWord(before) && names.includes(stem(earlier)), 2],
    [!isPreposition && names.includes(stem(after)), 2],
    [INTO.has(before) && names.some((it) => OUTPUTS.has(it)), 2],
    [/^[/~]/.test(text) && extension === undefined && slot.isDirectory, 2],
    [AMOUNTS.has(before) && AMOUNT_STEMS.some((it) => names.includes(it) || described.has(it)), 1],
    [!isNumber && described.has(stem(before)), 1],
    [!isNumber && described.has(stem(earlier)), 1],
    [described.has(stem(after)), 1],
    [extension !== undefined && described.has(stem(extension)), 1],
  ];
  return cues.reduce((sum, [holds, weight]) => (holds ? sum + weight : sum), 0);
}
