import type { Filled } from "./fill.ts";
import type { Piece } from "./piece.ts";
import type { Index, Match } from "./rank.ts";
import { extensionOf } from "./shape.ts";
import type { Slot } from "./slot.ts";
import { isEnding } from "./terms.ts";
import { numberOf } from "./value.ts";

/** What a request is made of. */
export interface Request {
  readonly pieces: readonly Piece[];
  readonly terms: ReadonlyMap<Piece, readonly string[]>;
  readonly phrases: readonly string[];
}

/** What is acted upon, where it is not a text. */
const PLACES: ReadonlySet<string> = new Set(["path", "url", "host"]);
/** Values by their looks, of whatever. */
export const VALUES: ReadonlySet<string> = new Set("path url host version ref tag id integer package date".split(" "));
const FIT_OF_USED = 1.3;
const FIT_OF_UNUSED = 0.5;
const FIT_OF_ABSENT = 0.8;

/** How well the request's values fit: those with a place here, those without, and what is not given. */
export function fitOf({ pieces }: Request, slots: readonly Slot[], filled: Filled): number {
  const { used } = filled;
  const unused = pieces.filter((it) => (VALUES.has(it.kind) || numberOf(it) !== undefined) && !used.has(it)).length;
  return FIT_OF_USED ** used.size * FIT_OF_UNUSED ** unused * FIT_OF_ABSENT ** absentOf(slots, filled);
}

/** How many files and addresses must be given and are not. */
export function absentOf(slots: readonly Slot[], { missing }: Filled): number {
  return slots.filter(({ parameter: it }) => PLACES.has(it.type.kind) && missing.includes(it.name)).length;
}

/** How many endings of the request's files only other capabilities have. */
export function foreignOf(terms: Request["terms"], match: Match, index: Index): number {
  const endings = new Set([...terms.values()].flat().filter(isEnding));
  return [...endings].filter((it) => index.isKnown(it) && !match.strengths.has(it)).length;
}

/** Whether it is for files where the request is about an address, or the other way round. */
export function isAboutElse({ pieces }: Request, slots: readonly Slot[]): boolean {
  const kinds = new Set(
    slots.flatMap(({ parameter: it }) => (it.required && PLACES.has(it.type.kind) ? [placeOf(it.type.kind)] : [])),
  );
  const given = pieces.flatMap(({ kind, text }) => {
    if (PLACES.has(kind)) return [placeOf(kind)];
    return kind === "quoted" && extensionOf(text) !== undefined ? ["path"] : [];
  });
  return given.length > 0 && kinds.size > 0 && !given.some((it) => kinds.has(it));
}

/** Whoever names a host means what is there. */
function placeOf(kind: string): string {
  return kind === "path" ? "path" : "address";
}
