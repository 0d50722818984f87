import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { isChainDirectory } from "./chain.ts";
import { listChains } from "./files.ts";
import { readHead } from "./head.ts";
import type { SavedCheckpoint } from "./proof/saved.ts";
import { type Entry, readChain } from "./read.ts";
import type { Problem } from "./verification.ts";

/** What is at a path that `verifyLog` takes. */
export interface CopyPlaces {
  /** A segment, or another file of records, on its own. */
  readonly isFile: boolean;
  /** Whether it is an audit directory, which should have every chain. */
  readonly isWhole: boolean;
  /** Directories by chain; of one segment on its own none, as it says nothing of what is around it. */
  readonly chains: ReadonlyMap<string, string>;
}

/** @throws the file system's error when the path can't be read */
export async function placesAt(path: string): Promise<CopyPlaces> {
  if (!(await stat(path)).isDirectory()) return { isFile: true, isWhole: false, chains: new Map() };
  if (await isChainDirectory(path))
    return { isFile: false, isWhole: false, chains: new Map([[basename(resolve(path)), path]]) };
  return { isFile: false, isWhole: true, chains: new Map((await listChains(path)).map((it) => [it, join(path, it)])) };
}

/**
 * Which of the checkpoints that were kept each copy is asked about: those that it reaches. One that no copy reaches is asked of the longest of
 * its chain, and of a chain that no copy has, of the first audit directory: an older copy lacks nothing that a newer one has.
 */
export async function savedByCopy(
  saved: readonly SavedCheckpoint[],
  copies: readonly CopyPlaces[],
): Promise<readonly (readonly SavedCheckpoint[])[]> {
  const sizes = await Promise.all(copies.map(sizesOf));
  const asked = copies.map((): SavedCheckpoint[] => []);
  const first = copies.findIndex(({ isWhole }) => isWhole);
  for (const it of saved) {
    const reached = sizes.map((size) => size.get(it.chain) ?? -1);
    const most = Math.max(...reached);
    const longest = most === -1 ? first : reached.indexOf(most);
    for (const [at, list] of asked.entries()) {
      if (at === longest || (reached[at] ?? -1) >= it.size) list.push(it);
    }
  }
  return asked;
}

/** As their heads say: one that says too much is a problem of its own. */
async function sizesOf({ chains }: CopyPlaces): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>();
  for (const [chain, place] of chains) {
    const head = await readHead(place);
    sizes.set(chain, typeof head === "string" ? 0 : head.seq + 1);
  }
  return sizes;
}

/**
 * Compares what several copies have of the same chains, record by record, by number and hash: a chain is added to, so that of two copies
 * one is the beginning of the other. Says of each chain where the first two differ. What is damaged in one of them is for `verifyLog`.
 * Memory is bounded, and gateways may be writing.
 */
export async function compareCopies(copies: readonly CopyPlaces[]): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const chain of new Set(copies.flatMap(({ chains }) => [...chains.keys()]))) {
    const places = copies.flatMap(({ chains }) => chains.get(chain) ?? []);
    const fork = places.length > 1 ? await findFork(places) : undefined;
    if (!fork) continue;
    const { seq, one, other } = fork;
    const message = `\`${one}\` and \`${other}\` have different records there: one of them was rewritten, or its key was used twice`;
    problems.push({ kind: "forked", chain, file: "", line: 0, seq, message });
  }
  return problems;
}

async function findFork(places: readonly string[]) {
  const readers = places.map((place) => ({ place, records: readChain(place, () => true) }));
  try {
    const heads = await Promise.all(readers.map(async (it) => ({ ...it, record: await next(it.records) })));
    for (;;) {
      const seq = Math.min(...heads.map(({ record }) => record?.seq ?? Number.POSITIVE_INFINITY));
      if (seq === Number.POSITIVE_INFINITY) return undefined;
      const [first, ...others] = heads.filter(({ record }) => record?.seq === seq);
      const differing = others.find(({ record }) => record?.hash !== first?.record?.hash);
      if (first && differing) return { seq, one: first.place, other: differing.place };
      for (const head of heads) if (head.record?.seq === seq) head.record = await next(head.records);
    }
  } finally {
    for (const { records } of readers) await records.return(undefined);
  }
}

async function next(records: AsyncGenerator<Entry>): Promise<Entry["record"] | undefined> {
  const { value, done } = await records.next();
  return done ? undefined : value.record;
}
