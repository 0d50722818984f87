import type { ProblemKind } from "../continuity.ts";

/** More are counted, not kept. */
const MAX_PROBLEMS = 1_000;

/**
 * Besides what can be wrong with a chain: `column`: what queries go by is not what the record says. `position`: the store does not reach,
 * or contradicts, what it says of itself, or what it has confirmed. `missing`: one side has a record that the other has not.
 * `differs`: both have one, and not the same.
 */
export type StoreProblemKind = ProblemKind | "column" | "position" | "missing" | "differs";

/** Something that is not as it was written, with its place. */
export interface StoreProblem {
  readonly kind: StoreProblemKind;
  readonly chain: string;
  readonly seq?: number;
  readonly message: string;
}

/** What was found out about a store. */
export interface StoreFindings {
  readonly chains: number;
  readonly records: number;
  /** The first 1,000. */
  readonly problems: readonly StoreProblem[];
  readonly problemCount: number;
}

/** Counts, and keeps the first problems. */
export class Tally implements StoreFindings {
  chains = 0;
  records = 0;
  problemCount = 0;
  readonly problems: StoreProblem[] = [];

  add(problem: StoreProblem): void {
    this.problemCount += 1;
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }
}
