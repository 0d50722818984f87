import type { Value, Values } from "../parameters.ts";
import type { Parameter } from "../skill.ts";
import { cueOf, isNamed, isNamedOtherwise, type Placed } from "./cue.ts";
import { mentioned } from "./mention.ts";
import type { Piece } from "./piece.ts";
import type { Slot } from "./slot.ts";
import { isBranch, valueFrom } from "./value.ts";

/** What the words of a request determine of a capability's arguments. */
export interface Filled {
  readonly arguments: Values;
  /** What must be given and isn't determined, in the order of the parameters. */
  readonly missing: readonly string[];
  /** The pieces that are values. */
  readonly used: ReadonlySet<Piece>;
}

/** A piece that can be meant for a parameter, and how strongly. */
interface Pair {
  readonly slot: Slot;
  readonly piece: Piece;
  readonly value: Value;
  readonly strength: number;
}

/**
 * Gives each piece to the parameter that it is meant for: by its kind first, then by the words around it, then by what must be given. Where that
 * leaves a choice nothing is given: a wrong argument is worse than none.
 */
export function fill(slots: readonly Slot[], places: readonly Placed[]): Filled {
  const pairs = settle(slots.flatMap((slot) => pairsOf(slot, places)));
  const found = slots.flatMap((slot): [string, Value][] => {
    const { name, type } = slot.parameter;
    const values = pairs.filter((it) => it.slot === slot).map((it) => it.value);
    const value = type.kind === "strings" ? values.flat().map(String) : (values[0] ?? mentioned(slot, slots, places));
    if (value === undefined || (Array.isArray(value) && value.length === 0)) return [];
    return slot.field.safeParse(value).success ? [[name, value]] : [];
  });
  const names = new Set(found.map(([name]) => name));
  const missing = slots.flatMap(({ parameter: { name, required } }) => (required && !names.has(name) ? [name] : []));
  return { arguments: Object.fromEntries(found), missing, used: new Set(pairs.map((it) => it.piece)) };
}

/** The pairs that hold, from the strongest on: each piece is one parameter's, and each parameter has one piece or is a list. */
function settle(pairs: readonly Pair[]): readonly Pair[] {
  const settled = new Set<Slot | Piece>();
  const strengths = [...new Set(pairs.map((it) => it.strength))].sort((a, b) => b - a);
  return strengths.flatMap((strength) => {
    const open = pairs.filter((it) => it.strength === strength && !settled.has(it.slot) && !settled.has(it.piece));
    for (const { slot, piece } of open) {
      // What was undecided stays so: a weaker reason is no better one.
      settled.add(piece);
      if (slot.parameter.type.kind !== "strings") settled.add(slot);
    }
    return decided(open);
  });
}

function pairsOf(slot: Slot, places: readonly Placed[]): Pair[] {
  return places.flatMap((place) => {
    const { piece } = place;
    const value = valueFrom(piece, slot, isNamed(place, slot));
    const cue = value === undefined ? undefined : cueOf(place, slot);
    if (value === undefined || cue === undefined || cue < neededCue(place, slot.parameter)) return [];
    // What has the look of its kind goes before what could be anything.
    const isAnything = piece.kind === "quoted" || piece.kind === "text";
    return [{ slot, piece, value, strength: cue + (slot.parameter.required ? 0.5 : 0) + (isAnything ? 0 : 0.25) }];
  });
}

/** A number, a text or a name can be anything's: without a word that says whose it is it's only for what must be given. */
function neededCue(place: Placed, { type, required }: Parameter): number {
  const { piece } = place;
  if (type.kind === "path" || isBranch(piece)) return 0;
  // "With the arguments --all".
  if (piece.kind === "option") return 2;
  if (piece.kind === "integer" || piece.kind === "name" || piece.kind === "word") return 1;
  if (piece.kind !== "quoted" && piece.kind !== "text") return 0;
  const isOtherName = /^[\p{L}\p{N}_-]+$/u.test(piece.text) && isNamedOtherwise(place);
  return required && type.kind === "string" && !isOtherName ? 0 : 1;
}

/** Those of equally strong pairs that leave no choice. */
function decided(pairs: readonly Pair[]): readonly Pair[] {
  const bySlot = Map.groupBy(pairs, (it) => it.slot);
  const byPiece = Map.groupBy(pairs, (it) => it.piece);
  // Two of a kind for two places are named in the order of the places: "diff v1.0 and v1.1".
  const isSquare = byPiece.size > 1 && byPiece.size === bySlot.size && pairs.length === byPiece.size ** 2;
  if (isSquare) return [...bySlot.values()].flatMap((it, index) => it[index] ?? []);
  return pairs.filter(({ slot, piece }) => {
    const isList = slot.parameter.type.kind === "strings";
    return byPiece.get(piece)?.length === 1 && (isList || bySlot.get(slot)?.length === 1);
  });
}
