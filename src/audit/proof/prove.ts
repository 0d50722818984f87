import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import { isHeld } from "../chain.ts";
import { recordsBefore } from "../extent.ts";
import { listSegments, readLines, segmentName } from "../files.ts";
import { readHead } from "../head.ts";
import { MAX_LINE_BYTES, readLine } from "../line.ts";
import { readChain } from "../read.ts";
import type { AuditRecord } from "../record.ts";
import { readStart } from "../truncate/beginning.ts";
import { mayBeSeal, readSeal } from "../truncate/seal.ts";
import { type Checkpoint, chainOf, originOf, parseCheckpoint } from "./checkpoint.ts";
import { keyring } from "./keyring.ts";
import type { KnownKeys } from "./known-keys.ts";
import { type Note, parseNote } from "./note.ts";
import { consistencySpans, extendsTree, includes, inclusionSpans, type Span, spanRoots } from "./paths.ts";
import { EMPTY_TREE, leafHash } from "./tree.ts";

const hashes = z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(128);
const note = z.string().max(MAX_LINE_BYTES);
const common = { version: z.literal(1), hashes, checkpoint: note, rotations: z.array(note).max(1_000) };

/** What somebody without the log can check: with `verifyProof`, and by RFC 9162 with any other program. */
export const proofSchema = z.discriminatedUnion("kind", [
  /** The line is the record `index` of those that the checkpoint covers. */
  z.strictObject({
    ...common,
    kind: z.literal("inclusion"),
    line: z.string().max(MAX_LINE_BYTES),
    index: z.int().min(0),
    size: z.int().min(1),
  }),
  /** What the older checkpoint covers is the beginning of what the newer one covers. */
  z.strictObject({ ...common, kind: z.literal("consistency"), older: note }),
]);
export type Proof = z.infer<typeof proofSchema>;

const carried = z.looseObject({ rotations: z.array(z.string()) });
const noted = z.looseObject({ note: z.string() });

export interface Signed extends Checkpoint {
  readonly note: string;
}

/**
 * The checkpoints of a chain, oldest first, and the changes of keys; as the log has them, unchecked. While a gateway writes the chain, none that
 * stands behind its head: that record may yet be cut off, and another be written in its place.
 */
export async function checkpointsOf(chainDirectory: string): Promise<{ checkpoints: Signed[]; rotations: string[] }> {
  const found: { readonly seq: number; readonly signed: Signed }[] = [];
  const rotations = new Set<string>();
  const mayMatter = (line: Buffer) =>
    line.includes('"event":"checkpoint"') || line.includes('"event":"audit-key') || mayBeSeal(line);
  // Both before the records: what the head names then stands where it will stand.
  const head = await readHead(chainDirectory);
  const wasHeld = isHeld(chainDirectory);
  for await (const { record } of readChain(chainDirectory, mayMatter)) {
    const { body, seq } = record;
    if (body.kind !== "event") continue;
    for (const it of carried.safeParse(body.facts).data?.rotations ?? []) rotations.add(it);
    for (const { note } of readSeal(record)?.facts.rotations ?? []) rotations.add(note);
    const { note } = noted.safeParse(body.facts).data ?? {};
    if (note === undefined) continue;
    if (body.event === "audit-key-rotated") rotations.add(note);
    const checkpoint = body.event === "checkpoint" ? parseCheckpoint(parseNote(note)?.text ?? "") : undefined;
    if (checkpoint) found.push({ seq, signed: { ...checkpoint, note } });
  }
  const mayBeCut = typeof head !== "string" && (wasHeld || isHeld(chainDirectory));
  const upToSeq = mayBeCut ? head.seq : Number.POSITIVE_INFINITY;
  const checkpoints = found.filter(({ seq }) => seq <= upToSeq).map(({ signed }) => signed);
  return { checkpoints, rotations: [...rotations] };
}

/**
 * Proves that a record is among those that a checkpoint covers. @param size of the checkpoint; the newest when left out
 * @throws GatewayError INVALID_ARGUMENTS when there is no such record or checkpoint; AUDIT_CORRUPT when the log is not what was signed
 */
export async function proveInclusion(chainDirectory: string, index: number, size?: number): Promise<Proof> {
  const { checkpoints, rotations } = await checkpointsOf(chainDirectory);
  const { note: checkpoint, root, ...signed } = chosen(checkpoints, size, index + 1);
  const [first = 1] = await listSegments(chainDirectory);
  const missing = await recordsBefore(chainDirectory, first);
  if (index < missing) throw removed(missing - 1);
  let line = Buffer.alloc(0);
  const roots = await rootsOf(chainDirectory, inclusionSpans(index, signed.size), signed.size, (bytes, at) => {
    if (at === index) line = Buffer.from(bytes);
  });
  if (!includes({ leaf: leafHash(line), index, size: signed.size, hashes: roots, root })) throw notSigned();
  const text = line.toString("utf8");
  return {
    version: 1,
    kind: "inclusion",
    line: text,
    index,
    size: signed.size,
    hashes: hex(roots),
    checkpoint,
    rotations,
  };
}

/**
 * Proves that what a checkpoint covers begins what a later one covers. @param first size of the older one
 * @throws GatewayError as `proveInclusion`
 */
export async function proveConsistency(chainDirectory: string, first: number, size?: number): Promise<Proof> {
  const { checkpoints, rotations } = await checkpointsOf(chainDirectory);
  const second = chosen(checkpoints, size, first);
  const older = chosen(checkpoints, first, first);
  const roots = await rootsOf(chainDirectory, consistencySpans(first, second.size), second.size, () => undefined);
  if (!extendsTree({ first: older, second, hashes: roots })) throw notSigned();
  return { version: 1, kind: "consistency", older: older.note, hashes: hex(roots), checkpoint: second.note, rotations };
}

export interface Proved {
  readonly chain: string;
  /** How many records the checkpoint covers. */
  readonly size: number;
  /** Whose key signed. */
  readonly gateway: string;
  /** Of an inclusion. */
  readonly record?: AuditRecord;
  /** Of a consistency: how many the older one covers. */
  readonly olderSize?: number;
}

/** Checks a proof without the log. @throws GatewayError AUDIT_CORRUPT when it proves nothing, and why */
export function verifyProof(proof: Proof, keys: KnownKeys): Proved {
  const ring = keyring(keys);
  for (const it of proof.rotations) ring.rotate(it, Number.POSITIVE_INFINITY);
  const given = proof.hashes.map((it) => Buffer.from(it, "hex"));
  const record = proof.kind === "inclusion" ? soundRecord(proof.line) : undefined;
  const timeMs = record ? Date.parse(record.time) : Date.now();
  const signed = opened(proof.checkpoint);
  const chain = chainOf(signed.origin);
  const signer = ring.signer(signed.parsed, { chain, size: signed.size, timeMs });
  if ("problem" in signer) throw refused(`the checkpoint: ${signer.problem}`);
  if (chain === undefined || signed.origin !== originOf(signer.verifier.name, chain)) {
    throw refused("the checkpoint is of another log");
  }
  const { size, root } = signed;
  const proved = { chain, size, gateway: signer.gateway };
  if (proof.kind === "inclusion") {
    if (!record || record.seq !== proof.index || record.chain !== chain || size !== proof.size) {
      throw refused("the record is not the one that the proof is about");
    }
    const leaf = leafHash(Buffer.from(proof.line));
    if (!includes({ leaf, index: proof.index, size, hashes: given, root })) {
      throw refused("the record is not among those that were signed");
    }
    return { ...proved, record };
  }
  const older = opened(proof.older);
  const by = ring.signer(older.parsed, { chain, size: older.size, timeMs });
  if ("problem" in by) throw refused(`the older checkpoint: ${by.problem}`);
  if (older.origin !== signed.origin || !extendsTree({ first: older, second: signed, hashes: given })) {
    throw refused("what the older checkpoint covers is not the beginning of what the newer one does");
  }
  return { ...proved, olderSize: older.size };
}

function soundRecord(line: string): AuditRecord {
  const read = readLine(Buffer.from(line));
  if (read.sound) return read.record;
  throw refused(`its line is no record: ${read.message}`);
}

function opened(text: string): Checkpoint & { readonly parsed: Note } {
  const parsed = parseNote(text);
  const checkpoint = parsed && parseCheckpoint(parsed.text);
  if (parsed && checkpoint) return { ...checkpoint, parsed };
  throw refused("it holds no checkpoint");
}

function chosen(checkpoints: readonly Signed[], size: number | undefined, least: number): Signed {
  const found = checkpoints.findLast((it) => (size === undefined ? it.size >= least : it.size === size));
  if (found && found.size >= least) return found;
  const sizes = checkpoints.map((it) => it.size);
  const there = sizes.length === 0 ? "it has none" : `the newest covers ${sizes.at(-1)} records`;
  const wanted = size === undefined ? `that covers ${least} records` : `of ${size} records that covers ${least}`;
  throw new GatewayError("INVALID_ARGUMENTS", `the chain has no checkpoint ${wanted}; ${there}`);
}

async function rootsOf(
  directory: string,
  spans: readonly Span[],
  size: number,
  see: (line: Buffer, at: number) => void,
): Promise<Buffer[]> {
  const numbers = await listSegments(directory);
  const [first = 1] = numbers;
  const before = first === 1 ? EMPTY_TREE : (await readStart(directory, first))?.tree;
  const collected = before && spanRoots(spans, before);
  if (!collected) throw removed((before?.size ?? 0) - 1);
  let at = before.size;
  for (const segment of numbers) {
    for await (const lines of readLines(join(directory, segmentName(segment)))) {
      for (const { bytes, terminated } of lines) {
        if (!terminated || at === size) return collected.roots();
        see(bytes, at);
        collected.add(leafHash(bytes));
        at += 1;
      }
    }
  }
  return collected.roots();
}

function hex(all: readonly Buffer[]): string[] {
  return all.map((it) => it.toString("hex"));
}

function removed(upTo: number): GatewayError {
  const what = upTo < 0 ? "the beginning of the chain is gone" : `records up to ${upTo} were removed from the log`;
  return new GatewayError("INVALID_ARGUMENTS", `${what}, and this cannot be proved without them`);
}

function notSigned(): GatewayError {
  return new GatewayError("AUDIT_CORRUPT", "the log is not what was signed: run `glovebox audit verify`");
}

function refused(why: string): GatewayError {
  return new GatewayError("AUDIT_CORRUPT", printable(`the proof does not hold: ${why}`));
}
