import type { AuditIndex } from "./open.ts";

/** Looked at in one transaction: others wait for so long. */
const SLICE_TERMS = 10_000;

export type Term = readonly [word: bigint, id: bigint];

export interface TermsOf {
  readonly chain: bigint;
  /** Of records in segments before this one; of all when left out. */
  readonly before?: number;
  /** The last term that was looked at. */
  readonly from: Term;
}

/** Looks at the next of all terms, as they have no list for each record. @returns the last of them, unless it was the last of all */
export function dropTerms(
  { database }: AuditIndex,
  table: "terms" | "ended",
  { chain, before, from }: TermsOf,
): Term | undefined {
  const last = database
    .prepare(`SELECT word, id FROM ${table} WHERE (word, id) > (?, ?) ORDER BY word, id LIMIT 1 OFFSET ?`)
    .get(...from, SLICE_TERMS - 1);
  const to: Term | undefined = last && [last["word"] as bigint, last["id"] as bigint];
  const inSegment = before === undefined ? "" : "AND r.segment < ?";
  database
    .prepare(
      `DELETE FROM ${table} WHERE (word, id) > (?, ?) ${to ? "AND (word, id) <= (?, ?)" : ""}
       AND EXISTS (SELECT 1 FROM records r WHERE r.id = ${table}.id AND r.chain = ? ${inSegment})`,
    )
    .run(...from, ...(to ?? []), chain, ...(before === undefined ? [] : [before]));
  return to;
}
