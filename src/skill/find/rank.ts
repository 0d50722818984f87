import MiniSearch from "minisearch";
import { type Candidate, type CapabilityDocument, documentOf, vocabularyOf } from "./document.ts";
import type { Piece } from "./piece.ts";
import { corrected } from "./spelling.ts";
import { stem } from "./stem.ts";
import { isKind, phrasesOf, termsOf } from "./terms.ts";

type Field = Exclude<keyof CapabilityDocument, "id">;

/** How much it counts where a term is. */
const BOOST: Readonly<Record<Field, number>> = {
  skill: 2,
  name: 2,
  title: 2,
  examples: 2,
  description: 1,
  parameters: 0.5,
  verbs: 1,
  phrases: 1,
  endings: 0.5,
};
/** How much of a term is there: a parameter's description is of what is done, it doesn't say what is. */
const STRENGTH: Readonly<Partial<Record<string, number>>> = { description: 0.8, parameters: 0.4 };
const ESSENTIAL: ReadonlySet<string> = new Set<Field>(["name", "title", "verbs"]);

/** How a capability fits a request's terms. */
export interface Match {
  readonly id: string;
  /** BM25+; only comparable within a request. */
  readonly relevance: number;
  /** How much of a term it has, 0 to 1. */
  readonly strengths: ReadonlyMap<string, number>;
  /** Terms that say what it does: those of its name and title, and what its examples begin with. */
  readonly essential: ReadonlySet<string>;
  /** Whether its skill is named. */
  readonly isNamed: boolean;
}

export interface Index {
  /** The terms of a piece, with slips of spelling corrected. */
  readonly termsOf: (piece: Piece) => readonly string[];
  readonly phrasesOf: (pieces: readonly Piece[]) => readonly string[];
  readonly match: (terms: readonly string[]) => readonly Match[];
  /** How much a term says, 0 to 1: the fewer capabilities have it, the more. */
  readonly weightOf: (term: string) => number;
  /** Whether any capability has it. */
  readonly isKnown: (term: string) => boolean;
}

/** Indexes capabilities. The order of them decides between equals. */
export function createIndex(candidates: readonly Candidate[]): Index {
  const documents = candidates.map(documentOf);
  const search = new MiniSearch<CapabilityDocument>({
    fields: Object.keys(BOOST),
    tokenize: split,
    processTerm: (term) => term,
    searchOptions: { boost: BOOST },
  });
  search.addAll(documents);
  const counts = countsOf(documents);
  const vocabulary = new Set(candidates.flatMap(vocabularyOf));
  const termOf = (word: string) => {
    if (isKind(word)) return word;
    return counts.has(stem(word)) ? stem(word) : stem(corrected(word, vocabulary) ?? word);
  };
  const rarest = weight(1, documents.length);
  return {
    termsOf: (piece) => termsOf(piece).map(termOf),
    phrasesOf: (pieces) => phrasesOf(pieces, termOf),
    match: (terms) =>
      search.search(terms.join(" ")).map(({ id, score, match }) => {
        const found = Object.entries(match);
        const strengthIn = (fields: readonly string[]) => Math.max(...fields.map((it) => STRENGTH[it] ?? 1));
        return {
          id: String(id),
          relevance: score,
          strengths: new Map(found.map(([term, fields]) => [term, strengthIn(fields)])),
          essential: new Set(found.flatMap(([term, fields]) => (fields.some((it) => ESSENTIAL.has(it)) ? [term] : []))),
          isNamed: found.some(([, fields]) => fields.includes("skill")),
        };
      }),
    weightOf: (term) => Math.min(weight(counts.get(term) ?? 1, documents.length) / rarest, 1),
    isKnown: (term) => counts.has(term),
  };
}

/** As BM25 has it. */
function weight(count: number, total: number): number {
  return Math.log(1 + (total - count + 0.5) / (count + 0.5));
}

/** How many documents have a term. */
function countsOf(documents: readonly CapabilityDocument[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { id: _, ...fields } of documents) {
    for (const term of new Set(Object.values(fields).flatMap(split))) counts.set(term, (counts.get(term) ?? 0) + 1);
  }
  return counts;
}

function split(text: string): string[] {
  return text.split(" ").filter((it) => it !== "");
}
