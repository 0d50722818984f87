import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { factsIn, numberIn } from "../facts.ts";
import { readLines, segmentName } from "../files.ts";
import { GENESIS_HASH, type Position, readLine } from "../line.ts";
import { EMPTY_TREE, sameTree, type Tree, treeOf } from "../proof/tree.ts";
import type { AuditRecord } from "../record.ts";
import { mayBeSeal, readSeal, type Seal } from "./seal.ts";

/** Where what is left of a chain begins. */
export interface Beginning {
  readonly segment: number;
  /** The last record before it. */
  readonly before: Position;
  /** Over all records before it. */
  readonly tree: Tree;
  /** By what the records before it were removed; undefined where none were. */
  readonly seal?: Seal;
}

const WHOLE: Beginning = { segment: 1, before: { seq: -1, hash: GENESIS_HASH }, tree: EMPTY_TREE };

/**
 * Where a chain begins, and that what was before it was removed by rule. Reads the last segment, and at most two more.
 * @param numbers of its segments, ascending
 * @param signedRecords so many records are known to be signed: a seal behind them may be anybody's
 * @throws GatewayError AUDIT_CORRUPT when segments are missing, and no seal says so
 */
export async function readBeginning(
  directory: string,
  chain: string,
  numbers: readonly number[],
  signedRecords = Number.POSITIVE_INFINITY,
): Promise<Beginning> {
  const [segment = 1] = numbers;
  const gap = numbers.findIndex((number, at) => number !== segment + at);
  if (gap !== -1) throw corrupt(chain, `${segmentName(segment + gap)} is missing`);
  if (segment === 1) return WHOLE;
  const start = await readStart(directory, segment);
  const seal = await newestSeal(directory, numbers, signedRecords);
  if (!start || !seal || !covers(seal, start, segment)) {
    throw corrupt(chain, `${segmentName(1)} is missing, and no signed record says that it was removed`);
  }
  return { segment, ...start, seal };
}

function covers({ upTo, tree, facts }: Seal, start: { before: Position; tree: Tree }, segment: number): boolean {
  const last = facts.segments[1];
  // Of a removal that was cut short, some of what is sealed is still there.
  if (upTo.seq > start.before.seq) return last >= segment;
  const { before } = start;
  return last === segment - 1 && upTo.seq === before.seq && upTo.hash === before.hash && sameTree(tree, start.tree);
}

/** The latest seal of a chain among its first so many records. */
export async function newestSeal(
  directory: string,
  numbers: readonly number[],
  withinRecords = Number.POSITIVE_INFINITY,
): Promise<Seal | undefined> {
  let segment = numbers.at(-1);
  while (segment !== undefined) {
    let seal: Seal | undefined;
    let earlier: number | undefined;
    let isFirst = true;
    for await (const lines of readLines(join(directory, segmentName(segment)))) {
      for (const { bytes, terminated } of lines) {
        if (terminated && (isFirst || mayBeSeal(bytes))) {
          const read = readLine(bytes);
          if (read.sound && isFirst) earlier = sealedIn(read.record);
          if (read.sound && read.record.seq < withinRecords) seal = readSeal(read.record) ?? seal;
        }
        isFirst = false;
      }
    }
    if (seal) return seal;
    // Always further back, whatever the record says.
    segment = earlier !== undefined && earlier < segment && numbers.includes(earlier) ? earlier : undefined;
  }
  return undefined;
}

/** Of a segment's first record: which segment has the latest seal. */
export function sealedIn({ body }: Pick<AuditRecord, "body">): number | undefined {
  if (body.kind !== "event" || body.event !== "segment-started") return undefined;
  return numberIn(factsIn(body.facts), "sealedIn");
}

/** What a segment's first record says of what was before it; undefined for a segment that does not begin as one does. */
export async function readStart(directory: string, segment: number) {
  for await (const [line] of readLines(join(directory, segmentName(segment)))) {
    const read = line?.terminated ? readLine(line.bytes) : undefined;
    return read?.sound ? startOf(read.record) : undefined;
  }
  return undefined;
}

/** The same of the record. */
export function startOf({ seq, prev, body }: AuditRecord): { before: Position; tree: Tree } | undefined {
  if (seq === 0 || body.kind !== "event" || body.event !== "segment-started") return undefined;
  const tree = treeOf(body.facts);
  return tree?.size === seq ? { before: { seq: seq - 1, hash: prev }, tree } : undefined;
}

function corrupt(chain: string, what: string): GatewayError {
  return new GatewayError("AUDIT_CORRUPT", `the audit log does not verify: ${chain}: ${what}`);
}
