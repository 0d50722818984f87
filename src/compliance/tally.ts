import { printable } from "../lib/text.ts";
import type { CheckResult, CheckState, Example } from "./check.ts";

const MAX_EXAMPLES = 5;
const MAX_TEXT_CHARS = 300;
/** More kinds than these are counted together. */
const MAX_COUNTS = 40;
const OTHERS = "others";

/** What one check notes of one chain. Of records outside of the time that is asked for nothing is kept. */
export interface Tally {
  /** Something that the check is about, and that is no evidence by itself. */
  concerns(what: string, amount?: number): void;
  /** Evidence. `text` says what the record has; without it the record is counted and no example. */
  finds(what: string, text?: string): void;
  /** What must not be there. */
  contradicts(what: string, text: string): void;
}

export interface OpenTally extends Tally {
  /** What is noted next is of this place; of none, when it does not count. */
  at(place: Omit<Example, "text"> | undefined): void;
  result(): CheckResult;
}

export function startTally(): OpenTally {
  const counts = new Map<string, number>();
  const found: Example[] = [];
  const contradictions: Example[] = [];
  let evidence = 0;
  let place: Omit<Example, "text"> | undefined;
  const add = (what: string, amount: number) => {
    const name = counts.has(what) || counts.size < MAX_COUNTS ? what : OTHERS;
    counts.set(name, (counts.get(name) ?? 0) + amount);
  };
  return {
    at: (next) => {
      place = next;
    },
    concerns: (what, amount = 1) => {
      if (place) add(what, amount);
    },
    finds: (what, text) => {
      if (!place) return;
      add(what, 1);
      evidence += 1;
      if (text === undefined) return;
      found.push(exampleAt(place, text));
      if (found.length > MAX_EXAMPLES) found.shift();
    },
    contradicts: (what, text) => {
      if (!place) return;
      add(what, 1);
      if (contradictions.length < MAX_EXAMPLES) contradictions.push(exampleAt(place, text));
    },
    result: () => ({
      state: contradictions.length > 0 ? "contradicted" : evidence > 0 ? "found" : counts.size > 0 ? "none" : "no-data",
      counts: Object.fromEntries(counts),
      examples: contradictions.length > 0 ? contradictions : found,
    }),
  };
}

/** No more of the place than that: what is given as one may be a whole record. */
function exampleAt({ chain, seq, hash, time }: Omit<Example, "text">, text: string): Example {
  const at = {
    ...(seq !== undefined && { seq }),
    ...(hash !== undefined && { hash }),
    ...(time !== undefined && { time }),
  };
  return { chain, ...at, text: line(text) };
}

/** The worst and the most that can be said comes first. */
const STATES: readonly CheckState[] = ["contradicted", "found", "none", "no-data"];

/** What several chains say to the same check. The same results give the same whole, in whatever order. */
export function joined(results: readonly CheckResult[]): CheckResult {
  const state = STATES.find((it) => results.some((result) => result.state === it)) ?? "no-data";
  const counts = new Map<string, number>();
  for (const [what, amount] of results.flatMap((it) => Object.entries(it.counts))) {
    counts.set(what, (counts.get(what) ?? 0) + amount);
  }
  const examples = results
    .filter((it) => it.state === state)
    .flatMap((it) => it.examples)
    .toSorted(byTime);
  return {
    state,
    counts: Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    examples: state === "contradicted" ? examples.slice(0, MAX_EXAMPLES) : examples.slice(-MAX_EXAMPLES),
  };
}

function byTime(a: Example, b: Example): number {
  return compare(a.time ?? "", b.time ?? "") || compare(a.chain, b.chain) || (a.seq ?? 0) - (b.seq ?? 0);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What can be shown of a text in one line. Cutting may leave half a character. */
export function line(text: string, maxChars = MAX_TEXT_CHARS): string {
  return printable(text, maxChars)
    .toWellFormed()
    .replaceAll(/[\n\t]/g, " ");
}
