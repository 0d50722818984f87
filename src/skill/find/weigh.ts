import { placed } from "./cue.ts";
import { type Filled, fill } from "./fill.ts";
import { absentOf, fitOf, foreignOf, isAboutElse, type Request, VALUES } from "./fit.ts";
import type { Piece } from "./piece.ts";
import type { Index, Match } from "./rank.ts";
import type { Slot } from "./slot.ts";
import { isKind } from "./terms.ts";
import { isBranch } from "./value.ts";

/** A capability that a request is about. */
export interface Likely {
  readonly id: string;
  readonly filled: Filled;
  /** How much of the request it explains, 0 to 1. */
  readonly certainty: number;
  /** How it compares with the others. */
  readonly relevance: number;
}

/** What a request can fill. */
interface Fillable {
  readonly skill: string;
  readonly slots: readonly Slot[];
}

/** What speaks for a capability. */
interface Evidence {
  /** How many of the request's words, and of its neighbouring words, it has. */
  readonly words: number;
  readonly phrases: number;
  /** How much they say, and how much of what all words say that is, 0 to 1. */
  readonly weight: number;
  readonly share: number;
  /** Whether it has what the request says to act upon: a file, an address, a commit. */
  readonly hasObject: boolean;
  /** Whether it can't begin without a file or an address, and the request has none. */
  readonly isIncomplete: boolean;
  /** Whether one of the words says what it does. */
  readonly hasVerb: boolean;
  /** Whether its skill is named. */
  readonly isNamed: boolean;
  /** Whether the request is one word only. */
  readonly isOneWord: boolean;
}

/** A capability among the others. */
interface Context {
  readonly match: Match;
  /** Those of its skill. */
  readonly related: readonly Match[];
  readonly index: Index;
}

const AMOUNTS: ReadonlySet<string> = new Set(["integer", "date"]);
/** A word in a parameter's description alone doesn't say what is meant. */
const MIN_STRENGTH = 0.5;
/** Of a word that only other capabilities of the skill have. */
const OF_SKILL = 0.8;
/** Where the file is there, its columns and the like may be unknown words. */
const UNKNOWN_WITH_OBJECT = 0.5;
/** Words of most capabilities say nothing: "list the files". */
const MIN_WEIGHT = 0.85;
const MIN_SHARE = 0.7;
const MIN_SHARE_INCOMPLETE = 0.8;
const MIN_SHARE_WITH_PHRASES = 0.55;
const MIN_SHARE_NAMED = 0.4;
const MIN_SHARE_WITH_OBJECT = 0.4;
const FIT_OF_FOREIGN = 0.5;

/** The capabilities that a request is about. */
export function weigh(
  index: Index,
  candidates: ReadonlyMap<string, Fillable>,
  pieces: readonly Piece[],
): readonly Likely[] {
  const terms = new Map(pieces.map((it) => [it, index.termsOf(it)] as const));
  const places = placed(pieces);
  const request = { pieces, terms, phrases: index.phrasesOf(pieces) };
  const matches = index.match([...new Set([...terms.values()].flat()), ...request.phrases]);
  return matches.flatMap((match) => {
    const candidate = candidates.get(match.id);
    if (!candidate) return [];
    const related = matches.filter((it) => candidates.get(it.id)?.skill === candidate.skill);
    const filled = fill(candidate.slots, places);
    const evidence = evidenceOf(request, candidate.slots, filled, { match, related, index });
    if (!isMeant(evidence) || isAboutElse(request, candidate.slots)) return [];
    const relevance =
      match.relevance * fitOf(request, candidate.slots, filled) * FIT_OF_FOREIGN ** foreignOf(terms, match, index);
    return [{ id: match.id, filled, certainty: evidence.share, relevance }];
  });
}

function evidenceOf(
  { pieces, terms, phrases }: Request,
  slots: readonly Slot[],
  filled: Filled,
  { match, related, index }: Context,
): Evidence {
  const open = new Set(pieces.filter((it) => !filled.used.has(it)).flatMap((it) => terms.get(it) ?? []));
  const words = [...open].filter((it) => !isKind(it));
  const hasObject = pieces.some((it) => isObject(it) && filled.used.has(it)) && foreignOf(terms, match, index) === 0;
  const strengthOf = (word: string) =>
    match.strengths.get(word) ?? (related.some((it) => it.strengths.has(word)) ? OF_SKILL : 0);
  const weightOf = (word: string) =>
    index.weightOf(word) * (hasObject && strengthOf(word) === 0 ? UNKNOWN_WITH_OBJECT : 1);
  const all = words.reduce((sum, word) => sum + weightOf(word), 0);
  const own = words.reduce((sum, word) => sum + weightOf(word) * strengthOf(word), 0);
  return {
    words: words.filter((it) => (match.strengths.get(it) ?? 0) >= MIN_STRENGTH).length,
    phrases: phrases.filter((it) => match.strengths.has(it)).length,
    weight: own,
    share: all === 0 ? 0 : own / all,
    hasObject,
    isIncomplete: absentOf(slots, filled) > 0,
    hasVerb: words.some((it) => match.essential.has(it)),
    isNamed: match.isNamed,
    isOneWord: pieces.length === 1,
  };
}

/** One word that is also another thing's ("slack off", "git good") is not enough. */
function isMeant({
  words,
  phrases,
  weight,
  share,
  hasObject,
  isIncomplete,
  hasVerb,
  isNamed,
  isOneWord,
}: Evidence): boolean {
  if (words === 0) return false;
  if (isOneWord) return hasVerb || phrases > 0;
  if (hasObject) return share >= MIN_SHARE_WITH_OBJECT && (words >= 2 || hasVerb || phrases > 0);
  const isExplained = words >= 2 && share >= (isIncomplete ? MIN_SHARE_INCOMPLETE : MIN_SHARE);
  if (isExplained) return phrases > 0 || weight >= MIN_WEIGHT;
  if (phrases < 2) return false;
  if (words === 1) return share === 1;
  return share >= (isNamed ? MIN_SHARE_NAMED : isIncomplete ? MIN_SHARE : MIN_SHARE_WITH_PHRASES);
}

/** Whether something is done to it. */
function isObject(piece: Piece): boolean {
  const isText = piece.kind === "quoted" || piece.kind === "text";
  return isText || (VALUES.has(piece.kind) && !AMOUNTS.has(piece.kind)) || isBranch(piece);
}
