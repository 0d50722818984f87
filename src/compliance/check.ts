import type { AuditRecord } from "../audit/record.ts";
import type { ChainRead } from "./chain-read.ts";
import type { Tally } from "./tally.ts";

/**
 * What the log says to a check. `contradicted`: it holds something that must not be there. `found`: evidence. `none`: what the check is about
 * happened, and no evidence with it. `no-data`: what it is about did not happen, so that nothing can be said.
 */
export type CheckState = "contradicted" | "found" | "none" | "no-data";

/** A record that shows it, or a place in the log that is damaged. */
export interface Example {
  readonly chain: string;
  readonly seq?: number;
  readonly hash?: string;
  readonly time?: string;
  /** One printable line. What stands in it may have been chosen by an agent. */
  readonly text: string;
}

export interface CheckResult {
  readonly state: CheckState;
  /** In words: how often what was seen. */
  readonly counts: Readonly<Record<string, number>>;
  /** At most five: the first contradictions, or the latest evidence. */
  readonly examples: readonly Example[];
}

interface Described {
  /** By which mappings name it. */
  readonly id: string;
  /** What is looked for: one sentence. */
  readonly looksFor: string;
}

/** One question to the log. Its answer is a pure function of the records. */
export type Check =
  | (Described & {
      readonly of: "records";
      /** Begins with a chain; what it answers is given each record of it, in order. */
      readonly start: (tally: Tally) => (record: AuditRecord) => void;
    })
  | (Described & { readonly of: "chains"; readonly see: (chain: ChainRead, tally: Tally) => void });
