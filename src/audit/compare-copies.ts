import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { isChainDirectory } from "./chain.ts";
import { listChains } from "./files.ts";
import { type Entry, readChain } from "./read.ts";
import type { Problem } from "./verify.ts";

/** A chain's id, and the directory that it is in. */
export type ChainPlaces = ReadonlyMap<string, string>;

/** The chains at a path that `verifyLog` takes; of one segment on its own none, as it says nothing of what is around it. */
export async function chainsAt(path: string): Promise<ChainPlaces> {
  if ((await stat(path)).isFile()) return new Map();
  if (await isChainDirectory(path)) return new Map([[basename(resolve(path)), path]]);
  return new Map((await listChains(path)).map((it) => [it, join(path, it)]));
}

/**
 * Compares what several copies have of the same chains, record by record, by number and hash: a chain is added to, so that of two copies
 * one is the beginning of the other. Says of each chain where the first two differ. What is damaged in one of them is for `verifyLog`.
 * Memory is bounded, and gateways may be writing.
 */
export async function compareCopies(copies: readonly ChainPlaces[]): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const chain of new Set(copies.flatMap((it) => [...it.keys()]))) {
    const places = copies.flatMap((it) => it.get(chain) ?? []);
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
