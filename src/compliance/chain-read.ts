import type { Truncated } from "../audit/proof/truncations.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { Verification } from "../audit/verification.ts";

export type Head = Pick<AuditRecord, "chain" | "seq" | "hash" | "time">;

/** A chain of the log as it was read, and verified from the same bytes. */
export interface ChainRead {
  readonly chain: string;
  /** Absent from a chain that has no sound record. */
  readonly first?: Head;
  readonly last?: Head;
  readonly records: number;
  /** Of those, in the time that the report is about. */
  readonly counted: number;
  readonly problems: Verification["problems"];
  readonly problemCount: number;
  /** Its records count as evidence: nothing is wrong with it, or no more than half a record at its end, as a crash leaves it. */
  readonly isWhole: boolean;
  /** What was removed from its beginning by rule: no report can say anything of that. */
  readonly truncated?: Truncated;
}
