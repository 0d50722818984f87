import { join } from "node:path";
import { recordsBefore } from "../extent.ts";
import { listChains, listSegments } from "../files.ts";
import type { Position } from "../line.ts";
import { readChain } from "../read.ts";
import { newestSeal } from "../truncate/beginning.ts";
import type { Store } from "./postgres-read.ts";
import { type StoreFindings, Tally } from "./store-problem.ts";

export interface Comparison extends StoreFindings {
  /** Of the log, and not in the store yet. */
  readonly unshipped: number;
}

export interface CompareOptions {
  /** What the store has confirmed to this log's gateways: the cursor of the sink. */
  readonly confirmed: ReadonlyMap<string, Position>;
  /** Says that nothing but this log is in the store, so that a chain which only the store has is one that was removed here. */
  readonly isAlone: boolean;
  readonly onRecord?: () => void;
}

/**
 * Compares a log with what a central store has of it, record by record, by number and hash: finds on which side history was rewritten or
 * shortened. What the lines in the store hold is for `verifyStore`, and damage in the log for `verifyLog`; a damaged record
 * counts as one that is not there. Memory is bounded, and gateways may be writing and delivering.
 * @throws DeliveryFailed when the store can't be read; the file system's error when the log can't be
 */
export async function compareStore(directory: string, store: Store, options: CompareOptions): Promise<Comparison> {
  const { confirmed, isAlone, onRecord = () => undefined } = options;
  const tally = new Tally();
  let unshipped = 0;
  // Before the log: whatever the store has come to by now, the log has when it is read.
  const stored = new Map((await store.chains()).map((it) => [it.chain, it]));
  const local = await listChains(directory);
  for (const chain of local) {
    tally.chains += 1;
    const { reached, dropped } = stored.get(chain) ?? {};
    const known = confirmed.get(chain);
    const ends = {
      ...{ store: reached?.seq ?? -1, dropped: dropped?.seq ?? -1, confirmed: known?.seq ?? -1 },
      ...(await truncatedTo(join(directory, chain), reached?.seq ?? -1)),
    };
    if (known && known.seq > ends.store) {
      const message = `the store reaches record ${ends.store} and has confirmed ${known.seq}: its end was removed, or it was put back from a copy`;
      tally.add({ chain, seq: known.seq, kind: "position", message });
    }
    unshipped += await compareChain(
      readChain(join(directory, chain), () => true),
      store.hashes(chain),
      {
        ends,
        onRecord,
        missing: (seq, message) => tally.add({ chain, seq, kind: "missing", message }),
        differs: (seq, message) => tally.add({ chain, seq, kind: "differs", message }),
        counted: () => {
          tally.records += 1;
        },
      },
    );
  }
  for (const chain of stored.keys()) {
    if (local.includes(chain) || !(isAlone || confirmed.has(chain))) continue;
    tally.add({
      chain,
      kind: "missing",
      message: "the store has this chain, and the log has not: it was removed here",
    });
  }
  for (const [chain, { seq }] of confirmed) {
    if (local.includes(chain) || stored.has(chain)) continue;
    const message = `its records up to ${seq} were shipped, and neither side has it any more`;
    tally.add({ chain, seq, kind: "missing", message });
  }
  return Object.assign(tally, { unshipped });
}

interface ChainComparison {
  /** The last record that each is known to have had. */
  readonly ends: {
    readonly store: number;
    readonly dropped: number;
    readonly confirmed: number;
    readonly truncated: number;
    /** A record that says that more was removed, which the store has not got yet; it may be anybody's. */
    readonly unshippedSeal: number | undefined;
  };
  readonly onRecord: () => void;
  readonly missing: (seq: number, message: string) => void;
  readonly differs: (seq: number, message: string) => void;
  readonly counted: () => void;
}

/**
 * The last record that was removed from a chain's beginning; -1 where none was. As the chain itself says, and the store as well: by a record that
 * it has, so that one that somebody made up here differs from what stands there.
 */
async function truncatedTo(chainDirectory: string, reached: number) {
  const numbers = await listSegments(chainDirectory);
  const [first] = numbers;
  if (first === undefined || first === 1) return { truncated: -1, unshippedSeal: undefined };
  const seal = await newestSeal(chainDirectory, numbers, { signed: { size: reached + 1 }, isOwn: () => true });
  const newest = await newestSeal(chainDirectory, numbers);
  return {
    truncated: Math.min(seal?.upTo.seq ?? -1, (await recordsBefore(chainDirectory, first)) - 1),
    unshippedSeal: newest && newest.seq > reached ? newest.seq : undefined,
  };
}

/** Goes through both in order of `seq`, and answers how many records are still to be shipped. */
async function compareChain(
  own: AsyncGenerator<{ readonly record: Position }>,
  theirs: AsyncGenerator<Position>,
  { ends, onRecord, missing, differs, counted }: ChainComparison,
): Promise<number> {
  let unshipped = 0;
  let last = -1;
  let there = await next(theirs);
  const unlessShipped =
    ends.unshippedSeal === undefined
      ? ""
      : `; record ${ends.unshippedSeal} says that it was removed by rule, which counts once it is shipped: compare again then`;
  const notHere = async (until: number) => {
    for (; there && there.seq < until && there.seq <= ends.store; there = await next(theirs)) {
      if (there.seq <= ends.truncated) continue;
      missing(there.seq, `the store has it, and the log has not: it was removed or damaged here${unlessShipped}`);
    }
  };
  for await (const { record } of own) {
    onRecord();
    const { seq, hash } = record;
    if (seq <= last) {
      differs(seq, `it stands behind record ${last} in the log: moved or doubled there`);
      continue;
    }
    last = seq;
    await notHere(seq);
    if (there?.seq !== seq) {
      if (seq <= ends.dropped) continue;
      if (seq > Math.max(ends.store, ends.confirmed)) unshipped += 1;
      else missing(seq, "the log has it, and the store has not, though it had: it was removed there");
      continue;
    }
    counted();
    // Two records of one number, of which one at least is not the log's.
    for (; there?.seq === seq; there = await next(theirs)) {
      if (there.hash !== hash)
        differs(seq, `here it has hash ${hash}, and in the store ${there.hash}: one was rewritten`);
    }
  }
  await notHere(Number.POSITIVE_INFINITY);
  return unshipped;
}

async function next(records: AsyncGenerator<Position>): Promise<Position | undefined> {
  const { value, done } = await records.next();
  return done ? undefined : value;
}
