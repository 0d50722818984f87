import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { listSegments, readLines, segmentName, syncDirectory } from "../files.ts";
import type { AuditLog } from "../log.ts";
import { EMPTY_TREE, grown, leafHash, sameTree, treeFacts } from "../proof/tree.ts";
import { newestSeal, readStart } from "./beginning.ts";
import { belongsTo, type Plan } from "./plan.ts";
import { type Seal, type SealFacts, sealBody } from "./seal.ts";
import type { Vouched } from "./vouched.ts";

export interface TruncateOptions extends Pick<SealFacts, "why" | "by"> {
  readonly directory: string;
  /** The chain, held by this process. */
  readonly log: Pick<AuditLog, "appendSigned">;
  /** What is older was to go; milliseconds since 1970. */
  readonly beforeMs: number;
}

/**
 * Removes the segments of a plan. First a record says so, and which, and is on disk and signed; then they go, oldest first, each removal synced.
 * Whenever this is cut short, either nothing was removed, or what is there says what may be missing.
 * @throws GatewayError AUDIT_UNWRITABLE, and nothing was removed; the file system's error
 */
export async function truncateChain(plan: Plan, { directory, log, beforeMs, why, by }: TruncateOptions): Promise<void> {
  const before = new Date(beforeMs).toISOString();
  const facts = { ...plan, tree: treeFacts(plan.tree), before, why, ...(by !== undefined && { by }) };
  await log.appendSigned(sealBody(facts));
  await removeSegments(directory, plan.segments[1]);
}

/** Segments of which a signed record says that they go, and which are still there. */
export interface Unfinished {
  readonly seal: Seal;
  readonly segments: readonly [number, ...number[]];
}

/** What a removal that was cut short has left; undefined: nothing. Reads a segment or two. */
export async function findUnfinished(directory: string, vouched: Vouched): Promise<Unfinished | undefined> {
  const numbers = await listSegments(directory);
  const seal = await newestSeal(directory, numbers, vouched);
  const [first, ...others] = numbers.filter((it) => seal && it <= seal.facts.segments[1]);
  // The last one has the seal, or what is behind it.
  if (!seal || first === undefined || others.length + 1 === numbers.length) return undefined;
  return { seal, segments: [first, ...others] };
}

/**
 * Removes it. The chain is held by this process.
 * @returns false: it is not what was sealed, and stays where it is, as all damage does
 */
export async function finishTruncation(directory: string, { seal, segments }: Unfinished): Promise<boolean> {
  const [first] = segments;
  let tree = first === 1 ? EMPTY_TREE : (await readStart(directory, first))?.tree;
  for (const number of segments) {
    for await (const lines of readLines(join(directory, segmentName(number)))) {
      for (const { bytes } of lines) tree &&= grown(tree, leafHash(bytes));
    }
  }
  if (!tree || !sameTree(tree, seal.tree)) return false;
  await removeSegments(directory, seal.facts.segments[1]);
  return true;
}

/** Oldest first: what is left has no gap, whenever this ends. Files that were moved aside go before the segment that they belong to. */
async function removeSegments(directory: string, upTo: number): Promise<void> {
  const names = await readdir(directory);
  for (const number of await listSegments(directory)) {
    if (number > upTo) return;
    for (const name of names) if (belongsTo(name, number)) await remove(join(directory, name));
    await remove(join(directory, segmentName(number)));
    await syncDirectory(directory);
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}
