import type { Continuity, Finding, ProblemKind } from "./continuity.ts";
import { GENESIS_HASH, type Position, type ReadLine, readLine } from "./line.ts";
import { type ChainEnd, type ChainProof, chainProof, type ProofOptions } from "./proof/chain-proof.ts";
import type { SavedCheckpoint } from "./proof/saved.ts";
import type { Truncated } from "./proof/truncations.ts";
import type { AuditRecord } from "./record.ts";

/** More are counted, not kept. */
export const MAX_PROBLEMS = 1_000;

/** Something that is not as it was written, with its place. */
export interface Problem {
  readonly kind: ProblemKind;
  /** Id of the chain; empty for a file on its own whose records don't say. */
  readonly chain: string;
  readonly file: string;
  /** From 1; 0 when it is about the file as a whole. */
  readonly line: number;
  readonly seq?: number;
  readonly message: string;
}

/** What gateways signed of the chains that were checked. */
export interface Proven {
  /** Signed checkpoints that hold. */
  readonly checkpoints: number;
  /** Records that none of them covers: the next ones will. */
  readonly unproven: number;
  /** Whether the signatures were compared with known keys. */
  readonly signatures: "checked" | "not-checked";
  /** Of the inventory, whose keys signed: by chain. */
  readonly gateways: Readonly<Record<string, string>>;
  /** What was removed from the beginnings of chains by rule, as signed records say: by chain. */
  readonly truncated: Readonly<Record<string, Truncated>>;
  /** Checkpoints that were kept, of records that are not there any more: they can't be compared. */
  readonly incomparable: number;
}

export interface Verification extends Proven {
  readonly chains: number;
  readonly records: number;
  /** Of all segments that were read. */
  readonly bytes: number;
  /** The first 1,000. */
  readonly problems: readonly Problem[];
  /** How many there are. */
  readonly problemCount: number;
}

export interface VerifyOptions extends ProofOptions {
  /** Is given each sound record as it is checked, once, chain by chain: what it learns holds when there are no problems. */
  readonly onRecord?: (record: AuditRecord) => void;
}

/** Where a chain begins. */
export const BEGINNING: Position = { seq: -1, hash: GENESIS_HASH };

type Tally = {
  -readonly [Name in Exclude<keyof Verification, "problems" | "gateways" | "truncated">]: Verification[Name];
} & {
  readonly problems: Problem[];
  readonly gateways: Record<string, string>;
  readonly truncated: Record<string, Truncated>;
};

export interface Context {
  readonly tally: Tally;
  readonly options: VerifyOptions;
  readonly savedByChain: ReadonlyMap<string, readonly SavedCheckpoint[]>;
}

/** What a check has found so far. */
export function newContext(options: VerifyOptions): Context {
  const counts = { chains: 0, records: 0, bytes: 0, problemCount: 0, checkpoints: 0, unproven: 0, incomparable: 0 };
  const signatures = options.keys ? "checked" : "not-checked";
  const savedByChain = Map.groupBy(options.saved ?? [], (it) => it.chain);
  return { tally: { ...counts, signatures, problems: [], gateways: {}, truncated: {} }, options, savedByChain };
}

/** What is known of a chain up to a line. */
export interface Seen {
  readonly check: Continuity;
  readonly proof: ChainProof;
}

export function proofOf(
  { options, savedByChain }: Context,
  chain: string | undefined,
  whole = true,
  rotations: ProofOptions["rotations"] = options.rotations ?? [],
): ChainProof {
  const saved = (chain !== undefined && savedByChain.get(chain)) || [];
  return chainProof(chain, whole, { ...options, saved, rotations });
}

/** The next line of a chain; what is wrong with it goes to `report`. @param read what it holds, when that is known */
export function seeLine(
  { tally, options }: Context,
  { check, proof }: Seen,
  bytes: Buffer,
  report: (it: Finding) => void,
  read: ReadLine = readLine(bytes),
): AuditRecord | undefined {
  const { record, findings } = check.check(read);
  for (const finding of [...findings, ...proof.see(bytes, record)]) report(finding);
  if (record) {
    tally.records += 1;
    options.onRecord?.(record);
  }
  return record;
}

export function endProof(context: Context, chain: string, proof: ChainProof): ChainEnd {
  const { tally } = context;
  const end = proof.end();
  const { findings, gateway, truncated } = end;
  tally.checkpoints += end.checkpoints;
  tally.unproven += end.unproven;
  tally.incomparable += end.incomparable;
  if (gateway !== undefined) tally.gateways[chain] = gateway;
  if (truncated) tally.truncated[chain] = truncated;
  for (const finding of findings) add(context, { chain, file: "", line: 0, ...finding });
  return end;
}

/** Chains of which checkpoints were kept, and that are not among those that were found. */
export function missingChains(context: Context, found: readonly string[]): void {
  for (const [chain, saved] of context.savedByChain) {
    if (found.includes(chain)) continue;
    const most = saved.reduce((size, it) => Math.max(size, it.size), 0);
    const message = `the whole chain is gone: a checkpoint of ${most} records was kept`;
    add(context, { chain, file: "", line: 0, kind: "missing", message });
  }
}

export function add({ tally }: Context, problem: Problem): void {
  tally.problemCount += 1;
  if (tally.problems.length < MAX_PROBLEMS) tally.problems.push(problem);
}
