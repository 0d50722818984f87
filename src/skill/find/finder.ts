import type { Values } from "../parameters.ts";
import type { Candidate } from "./document.ts";
import { readingsOf } from "./piece.ts";
import { createIndex } from "./rank.ts";
import { slotsOf } from "./slot.ts";
import { type Likely, weigh } from "./weigh.ts";

/** A longer text is no request in plain words. */
export const MAX_REQUEST_CHARS = 2_000;
const MAX_FOUND = 5;
/** What is this much less likely than the best is noise. */
const MIN_OF_BEST = 0.3;

/** A capability that a request may mean. */
export interface Found {
  /** The tool's name. */
  readonly id: string;
  /** How surely the request means it, 0 to 1, in hundredths. */
  readonly score: number;
  /** What the request's words determine, as they have it. */
  readonly arguments: Values;
  /** What must be given besides. */
  readonly missing: readonly string[];
}

/**
 * Finds the capabilities that a request in plain words means, best first; none where it is about something else. The same request and
 * candidates, in whatever order, have the same answer.
 */
export function createFinder(candidates: readonly Candidate[]): (request: string) => readonly Found[] {
  const ordered = [...candidates].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const index = createIndex(ordered);
  const byId = new Map(ordered.map((it) => [it.id, { skill: it.skill, slots: slotsOf(it.capability.parameters) }]));
  return (request) => {
    if (request.length > MAX_REQUEST_CHARS) return [];
    for (const pieces of readingsOf(request)) {
      const text = pieces.find((it) => it.kind === "text");
      const likely = weigh(index, byId, pieces).filter((it) => !text || it.filled.used.has(text));
      if (likely.length > 0) return found(likely);
    }
    return [];
  };
}

function found(likely: readonly Likely[]): readonly Found[] {
  const best = Math.max(...likely.map((it) => it.relevance));
  return likely
    .filter((it) => it.relevance >= best * MIN_OF_BEST)
    .map(({ id, filled, certainty, relevance }) => ({
      id,
      score: Math.round(certainty * (relevance / best) * 100) / 100,
      arguments: filled.arguments,
      missing: filled.missing,
    }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, MAX_FOUND);
}
