import { z } from "zod";
import type { Position } from "../line.ts";
import { readTree, type Tree, type treeFacts } from "../proof/tree.ts";
import type { AuditRecord, EventBody } from "../record.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);

/** Facts of `log-truncated`. */
const sealFacts = z.strictObject({
  /** What is older was to go; RFC 3339. */
  before: z.iso.datetime(),
  /** Number and hash of the last record that goes. */
  upToSeq: count,
  upToHash: hash,
  /** Numbers of the first and the last segment that go. */
  segments: z.tuple([z.int().min(1), z.int().min(1)]),
  records: count,
  bytes: count,
  /** Times of the records that go: the least and the greatest. */
  oldest: z.string(),
  newest: z.string(),
  /** The Merkle tree over all records up to `upToSeq`, as `segment-started` has it. */
  tree: z.custom<ReturnType<typeof treeFacts>>((value) => readTree(value) !== undefined),
  /** Changes of keys that are on record in what goes, and behind how many records: signatures of what stays follow from them. */
  rotations: z.array(z.strictObject({ size: count, note: z.string() })),
  /** Files that belong to these segments, and go with them. */
  torn: z.array(z.string()),
  why: z.enum(["retention", "person"]),
  /** Whoever asked for it at the command line. */
  by: z.string().exactOptional(),
});
export type SealFacts = z.infer<typeof sealFacts>;

/**
 * A record that says that the beginning of its chain is removed. It counts once a checkpoint covers it that the same gateway signed: whoever can
 * only write files can put a record there, and no signature behind it.
 */
export interface Seal {
  /** Of the record itself. */
  readonly seq: number;
  readonly upTo: Position;
  /** Over all records up to `upTo`. */
  readonly tree: Tree;
  readonly facts: SealFacts;
}

export function sealBody(facts: SealFacts): EventBody {
  const { segments, rotations, torn } = facts;
  return {
    kind: "event",
    event: "log-truncated",
    facts: { ...facts, segments: [...segments], rotations: rotations.map((it) => ({ ...it })), torn: [...torn] },
  };
}

/** Whether a line may be a seal: before it is parsed. */
export function mayBeSeal(line: Buffer): boolean {
  return line.includes('"event":"log-truncated"');
}

/** The seal that a record is; undefined for any other, and for one that contradicts itself. */
export function readSeal({ seq, body }: AuditRecord): Seal | undefined {
  if (body.kind !== "event" || body.event !== "log-truncated") return undefined;
  const { data: facts } = sealFacts.safeParse(body.facts);
  const tree = facts && readTree(facts.tree);
  if (!facts || tree?.size !== facts.upToSeq + 1 || facts.upToSeq >= seq) return undefined;
  return { seq, upTo: { seq: facts.upToSeq, hash: facts.upToHash }, tree, facts };
}
