import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { continuity } from "../continuity.ts";
import { timeAt } from "../extent.ts";
import { listSegments, readLines, segmentName } from "../files.ts";
import { type Position, readLine } from "../line.ts";
import { grown, leafHash, rootOf, sameTree, type Tree } from "../proof/tree.ts";
import type { AuditRecord } from "../record.ts";
import { type Beginning, readBeginning, readStart } from "./beginning.ts";
import type { SealFacts } from "./seal.ts";
import type { Vouched } from "./vouched.ts";

/** A record has room for so many changes of keys; older ones are followed from newer files of keys. */
const MAX_ROTATIONS = 100;
/** Names of files that a seal tells of. */
const MAX_TORN = 100;

export interface PlanOptions {
  readonly directory: string;
  readonly chain: string;
  /** What is older may go; milliseconds since 1970. */
  readonly beforeMs: number;
  /** Whether whoever is to have it has confirmed a segment of the chain. */
  readonly isShipped: (segment: number) => boolean;
  /** What was signed of the chain. */
  readonly vouched: Vouched;
  /** Is waited for after each block of lines. */
  readonly pause?: (tookMs: number) => Promise<void>;
}

/** What goes; `before`, `why` and `by` are for whoever seals it to say. */
export type Plan = Omit<SealFacts, "before" | "why" | "by" | "tree"> & { readonly tree: Tree };

/** Why nothing goes. */
export type Kept = "one segment" | "young" | "unshipped" | "unsigned";

/**
 * Which of a chain's segments may go: the oldest, whole, of which no record is young and nothing is still to be shipped; never the last. Each line that
 * goes is checked as `audit verify` does, and what is left, with what was left before, has to be what was signed: all of it is read. Changes nothing.
 * @throws GatewayError AUDIT_CORRUPT: a damaged chain is never truncated
 */
export async function planTruncation(options: PlanOptions): Promise<Plan | { readonly kept: Kept }> {
  const { directory, chain, beforeMs, vouched } = options;
  const numbers = await listSegments(directory);
  const [oldest] = numbers;
  if (oldest === undefined || numbers.length < 2) return { kept: "one segment" };
  // Most often there is nothing to do: a look at one record tells.
  const time = await timeAt(join(directory, segmentName(oldest)), 0);
  if (time !== undefined && Date.parse(time) >= beforeMs) return { kept: "young" };
  const beginning = await readBeginning(directory, chain, numbers, vouched);
  const cut = await findCut(options, beginning, numbers);
  if ("kept" in cut) return cut;
  await compareWithSigned(options, cut.tree, numbers.slice(numbers.indexOf(cut.segments[1]) + 1));
  return cut;
}

async function findCut(
  options: PlanOptions,
  beginning: Beginning,
  numbers: readonly number[],
): Promise<Plan | { readonly kept: Kept }> {
  const { directory, chain, isShipped, vouched } = options;
  const check = continuity(chain, beginning.before);
  const names = await readdir(directory);
  const rotations: SealFacts["rotations"] = [...(beginning.seal?.facts.rotations ?? [])];
  const torn: string[] = [];
  let [tree, records, bytes, oldest, newest] = [beginning.tree, 0, 0, "9999", ""];
  let plan: Plan | undefined;
  let kept: Kept = "young";
  for (const [at, number] of numbers.entries()) {
    const next = numbers[at + 1];
    if (next === undefined) break;
    if (!isShipped(number)) {
      kept = "unshipped";
      break;
    }
    const read = await readSegment(options, number, check, tree);
    if (read === undefined) break;
    tree = read.tree;
    records += read.records;
    if (read.oldest < oldest) oldest = read.oldest;
    if (read.newest > newest) newest = read.newest;
    rotations.push(...read.rotations);
    bytes += (await stat(join(directory, segmentName(number)))).size;
    torn.push(...names.filter((it) => belongsTo(it, number)));
    const start = await readStart(directory, next);
    // From before it was signed, or not begun yet: nothing there says what was before it.
    if (!start) continue;
    if (!sameTree(start.tree, tree) || start.before.hash !== check.position.hash) {
      throw corrupt(chain, `${segmentName(next)} does not begin behind the records before it`);
    }
    if (tree.size > vouched.signed.size) {
      kept = "unsigned";
      break;
    }
    const upTo: Position = check.position;
    plan = {
      ...{ upToSeq: upTo.seq, upToHash: upTo.hash, segments: [beginning.segment, number], records, bytes },
      ...{ oldest, newest, tree, rotations: latest(rotations), torn: torn.slice(0, MAX_TORN) },
    };
  }
  return plan ?? { kept };
}

interface ReadSegment {
  readonly tree: Tree;
  readonly records: number;
  readonly oldest: string;
  readonly newest: string;
  readonly rotations: SealFacts["rotations"];
}

/** Undefined when a record is too young. */
async function readSegment(
  { directory, chain, beforeMs, pause = noPause }: PlanOptions,
  number: number,
  check: ReturnType<typeof continuity>,
  before: Tree,
): Promise<ReadSegment | undefined> {
  const name = segmentName(number);
  let [tree, records, oldest, newest] = [before, 0, "9999", ""];
  const rotations: SealFacts["rotations"] = [];
  let startedMs = performance.now();
  for await (const lines of readLines(join(directory, name))) {
    for (const { bytes, number: line, terminated } of lines) {
      const { record, findings } = check.check(readLine(bytes));
      const [finding] = findings;
      if (finding || !record || !terminated) {
        throw corrupt(chain, `${name}, line ${line}: ${finding?.message ?? "not a whole line"}`);
      }
      const { time } = record;
      if (Date.parse(time) >= beforeMs) return undefined;
      rotations.push(...rotationsIn(record));
      tree = grown(tree, leafHash(bytes));
      records += 1;
      if (time < oldest) oldest = time;
      if (time > newest) newest = time;
    }
    await pause(performance.now() - startedMs);
    startedMs = performance.now();
  }
  return { tree, records, oldest, newest, rotations };
}

/** What stays is not parsed: that its lines are those that were signed says more. */
async function compareWithSigned(
  { directory, chain, vouched: { signed }, pause = noPause }: PlanOptions,
  from: Tree,
  numbers: readonly number[],
): Promise<void> {
  let tree = from;
  let startedMs = performance.now();
  for (const number of numbers) {
    if (tree.size === signed.size) break;
    for await (const lines of readLines(join(directory, segmentName(number)))) {
      for (const { bytes, terminated } of lines) {
        if (tree.size === signed.size) break;
        if (terminated) tree = grown(tree, leafHash(bytes));
      }
      await pause(performance.now() - startedMs);
      startedMs = performance.now();
    }
  }
  if (tree.size === signed.size && rootOf(tree).equals(signed.root)) return;
  throw corrupt(chain, `its first ${signed.size} records are not those of which a checkpoint was signed`);
}

const carried = z.looseObject({ rotations: z.array(z.string()) });
const rotated = z.looseObject({ note: z.string() });

/** Changes of keys that a record tells of, and how many records the old key may cover. */
function rotationsIn({ seq, body }: AuditRecord): SealFacts["rotations"] {
  if (body.kind !== "event") return [];
  if (body.event === "audit-key") {
    return (carried.safeParse(body.facts).data?.rotations ?? []).map((note) => ({ size: seq, note }));
  }
  const note = body.event === "audit-key-rotated" ? rotated.safeParse(body.facts).data?.note : undefined;
  return note === undefined ? [] : [{ size: seq + 1, note }];
}

/** Each note once, as it came first. */
function latest(rotations: SealFacts["rotations"]): SealFacts["rotations"] {
  const first = rotations.filter(({ note }, at) => rotations.findIndex((it) => it.note === note) === at);
  return first.slice(-MAX_ROTATIONS);
}

/** Bytes that recovery moved aside, of this segment. */
export function belongsTo(file: string, segment: number): boolean {
  const prefix = `${segmentName(segment)}.`;
  return file.startsWith(prefix) && /^(?:[0-9a-f]{16}\.torn|torn\.part)$/.test(file.slice(prefix.length));
}

async function noPause(): Promise<void> {
  await setImmediate();
}

function corrupt(chain: string, what: string): GatewayError {
  return new GatewayError(
    "AUDIT_CORRUPT",
    `the audit log does not verify: ${chain}: ${what}; a damaged chain is not truncated: run \`glovebox audit verify\``,
  );
}
