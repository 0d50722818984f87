import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { factsIn, numberIn, textIn } from "../facts.ts";
import { readLines, segmentName } from "../files.ts";
import { GENESIS_HASH, type Position, readLine } from "../line.ts";
import { chainOf, parseCheckpoint } from "../proof/checkpoint.ts";
import { parseNote } from "../proof/note.ts";
import { EMPTY_TREE, sameTree, type Tree, treeOf } from "../proof/tree.ts";
import type { AuditRecord } from "../record.ts";
import { readSeal, type Seal } from "./seal.ts";
import type { Vouched } from "./vouched.ts";

const PROOFS = ['"event":"log-truncated"', '"event":"checkpoint"', '"event":"audit-key"'];

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
 * Where a chain begins, and that what was before it was removed by rule. Reads the last segment, and one or two more.
 * @param numbers of its segments, ascending
 * @param vouched by which a seal is known to be a gateway's of this data directory; without it, it may be anybody's
 * @throws GatewayError AUDIT_CORRUPT when segments are missing, and no seal says so
 */
export async function readBeginning(
  directory: string,
  chain: string,
  numbers: readonly number[],
  vouched?: Vouched,
): Promise<Beginning> {
  const [segment = 1] = numbers;
  const gap = numbers.findIndex((number, at) => number !== segment + at);
  if (gap !== -1) throw corrupt(chain, `${segmentName(segment + gap)} is missing`);
  if (segment === 1) return WHOLE;
  const start = await readStart(directory, segment);
  const seal = await newestSeal(directory, numbers, vouched);
  if (!start || !seal || !covers(seal, start, segment)) {
    throw corrupt(
      chain,
      `${segmentName(1)} is missing, and no signed record says that it was removed; put \`keys\` and \`audit\` back from one backup, or move the ` +
        "chain's directory out of the audit directory and keep it",
    );
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

/** As `Vouched`, for which the number of records will do. */
export interface SealsAmong extends Pick<Vouched, "isOwn"> {
  readonly signed: Pick<Vouched["signed"], "size">;
}

/**
 * The latest seal of a chain that counts: a checkpoint stands behind it before another gateway names its key.
 * @param vouched then only among the records that were signed, and by a checkpoint of the own key
 */
export async function newestSeal(
  directory: string,
  numbers: readonly number[],
  vouched?: SealsAmong,
): Promise<Seal | undefined> {
  let segment = numbers.at(-1);
  while (segment !== undefined) {
    const { seal, pending, earlier } = await sealsIn(directory, segment, vouched);
    const next = pending && (await isSealedBehind(directory, numbers, segment, vouched)) ? pending : seal;
    if (next) return next;
    // Always further back, whatever the record says.
    segment = earlier !== undefined && earlier < segment && numbers.includes(earlier) ? earlier : undefined;
  }
  return undefined;
}

interface SealsIn {
  readonly seal: Seal | undefined;
  /** Behind it, the segment has neither a checkpoint nor a key. */
  readonly pending: Seal | undefined;
  /** The segment that had the latest seal when this one was begun. */
  readonly earlier: number | undefined;
}

async function sealsIn(directory: string, segment: number, vouched: SealsAmong | undefined): Promise<SealsIn> {
  let [seal, pending]: (Seal | undefined)[] = [];
  // A gateway may have died before it wrote the first record.
  let earlier: number | undefined = segment - 1;
  let isFirst = true;
  for await (const record of proofRecords(directory, segment)) {
    if (isFirst) earlier = sealedIn(record);
    isFirst = false;
    if (record.seq < (vouched?.signed.size ?? Number.POSITIVE_INFINITY)) pending = readSeal(record) ?? pending;
    const means = pending && meaning(record, vouched);
    if (means === "signed") seal = pending;
    if (means !== undefined) pending = undefined;
  }
  return { seal, pending, earlier };
}

/** Whether a checkpoint comes first in the segments behind this one. */
async function isSealedBehind(
  directory: string,
  numbers: readonly number[],
  segment: number,
  vouched: SealsAmong | undefined,
): Promise<boolean> {
  for (const number of numbers.filter((it) => it > segment)) {
    for await (const record of proofRecords(directory, number)) {
      const means = meaning(record, vouched);
      if (means !== undefined) return means === "signed";
    }
  }
  return false;
}

/** What a record means for a seal before it. What a gateway finds when it starts, it signs without having seen it written. */
function meaning({ seq, chain, body }: AuditRecord, vouched: SealsAmong | undefined): "signed" | "found" | undefined {
  if (body.kind !== "event") return undefined;
  if (body.event === "audit-key") return "found";
  if (body.event !== "checkpoint") return undefined;
  const note = parseNote(textIn(factsIn(body.facts), "note") ?? "");
  const checkpoint = note && parseCheckpoint(note.text);
  if (!note || checkpoint?.size !== seq || chainOf(checkpoint.origin) !== chain) return undefined;
  return !vouched || vouched.isOwn(note) ? "signed" : undefined;
}

/** A segment's first record, and those that say what is signed and what was removed. */
async function* proofRecords(directory: string, segment: number): AsyncGenerator<AuditRecord> {
  let isFirst = true;
  for await (const lines of readLines(join(directory, segmentName(segment)))) {
    for (const { bytes, terminated } of lines) {
      const matters = isFirst || PROOFS.some((it) => bytes.includes(it));
      isFirst = false;
      const read = terminated && matters ? readLine(bytes) : undefined;
      if (read?.sound) yield read.record;
    }
  }
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
