import { join } from "node:path";
import { listChains } from "../audit/files.ts";
import type { AuditRecord } from "../audit/record.ts";
import { verifyLog } from "../audit/verify.ts";
import { printable } from "../lib/text.ts";
import type { ChainRead, Head } from "./chain-read.ts";
import type { Check, CheckResult } from "./check.ts";
import { eventOf, textOf } from "./facts.ts";
import { type PolicyInForce, startPolicies } from "./policies.ts";
import { joined, line, type OpenTally, startTally } from "./tally.ts";

/** Of policies that were in force the latest; more are counted. */
const MAX_POLICIES = 100;
/** Ours have some 300: a note that is longer is cut, and then proves nothing. */
const MAX_NOTE_CHARS = 4_000;
const PROGRESS_RECORDS = 2_000;

export type Progress = (chain: string, records: number) => void;

/** Milliseconds since 1970. What was before is read, for what began before, and is no evidence. */
export interface Window {
  /** Inclusive. */
  readonly sinceMs?: number;
  /** Exclusive. */
  readonly untilMs?: number;
}

/** The latest of a chain. Its signature was not checked. */
export interface CheckpointSeen extends Head {
  /** With its line breaks, as `audit verify --checkpoints` takes it. */
  readonly note: string;
}

/** What a log says to the checks. */
export interface Gathered {
  readonly chains: readonly ChainRead[];
  readonly results: ReadonlyMap<string, CheckResult>;
  /** By time. */
  readonly policies: readonly PolicyInForce[];
  /** Those that came into force besides, earlier. */
  readonly earlierPolicies: number;
  readonly checkpoints: readonly CheckpointSeen[];
}

/**
 * Puts the checks to an audit log, chain by chain, from the very bytes that are verified on the way. Nothing of a chain that is damaged counts
 * as evidence. Memory is bounded, and a gateway may be writing meanwhile.
 * @param onProgress is told now and then how many records of a chain have been read
 * @throws the file system's error when something can't be read
 */
export async function gather(
  directory: string,
  checks: readonly Check[],
  { sinceMs, untilMs, onProgress = () => undefined }: Window & { readonly onProgress?: Progress },
): Promise<Gathered> {
  const isMeant = ({ time }: AuditRecord) => {
    const atMs = Date.parse(time);
    return (sinceMs === undefined || atMs >= sinceMs) && (untilMs === undefined || atMs < untilMs);
  };
  const chains: ChainRead[] = [];
  const results = new Map<string, CheckResult[]>(checks.map((it) => [it.id, []]));
  const policies: PolicyInForce[] = [];
  const checkpoints: CheckpointSeen[] = [];
  for (const chain of await listChains(directory)) {
    const found = await gatherChain(directory, chain, checks, { sinceMs, isMeant, onProgress });
    chains.push(found.read);
    for (const [id, result] of found.results) results.get(id)?.push(result);
    if (!found.read.isWhole) continue;
    policies.push(...found.policies);
    if (found.checkpoint) checkpoints.push(found.checkpoint);
  }
  policies.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  return {
    chains,
    results: new Map([...results].map(([id, each]) => [id, joined(each)])),
    policies: policies.slice(-MAX_POLICIES),
    earlierPolicies: Math.max(0, policies.length - MAX_POLICIES),
    checkpoints,
  };
}

async function gatherChain(
  directory: string,
  chain: string,
  checks: readonly Check[],
  {
    sinceMs,
    isMeant,
    onProgress,
  }: {
    readonly sinceMs: number | undefined;
    readonly isMeant: (record: AuditRecord) => boolean;
    readonly onProgress: Progress;
  },
) {
  const folds = checks.flatMap((check) => {
    if (check.of !== "records") return [];
    const tally = startTally();
    return [{ id: check.id, tally, see: check.start(tally) }];
  });
  const policies = startPolicies(sinceMs);
  let checkpoint: CheckpointSeen | undefined;
  let first: Head | undefined;
  let last: Head | undefined;
  let counted = 0;
  let read = 0;
  const onRecord = (record: AuditRecord) => {
    const place = headOf(chain, record);
    read += 1;
    if (read % PROGRESS_RECORDS === 0) onProgress(chain, read);
    first ??= place;
    last = place;
    const counts = isMeant(record);
    if (counts) counted += 1;
    for (const { tally, see } of folds) {
      tally.at(counts ? place : undefined);
      see(record);
    }
    policies.see(record, counts);
    if (!counts) return;
    const note = eventOf(record, "checkpoint");
    if (note) checkpoint = { ...place, note: noteText(textOf(note.facts, "note") ?? "") };
  };
  const { records, problemCount, ...verification } = await verifyLog(join(directory, chain), { onRecord });
  // What is wrong with a record may quote it.
  const problems = verification.problems.map((it) => ({ ...it, message: line(it.message) }));
  // Problems that are not kept may be any.
  const isWhole = problems.length === problemCount && problems.every((it) => it.kind === "torn");
  const ends = { ...(first && { first }), ...(last && { last }) };
  const truncated = verification.truncated[chain];
  const kept = { ...ends, ...(truncated && { truncated: { ...truncated, before: line(truncated.before) } }) };
  const whole: ChainRead = { chain, ...kept, records, counted, problems, problemCount, isWhole };
  const results = new Map<string, CheckResult>();
  if (isWhole) for (const { id, tally } of folds) results.set(id, tally.result());
  for (const check of checks) if (check.of === "chains") results.set(check.id, resultOf(whole, check.see));
  return { read: whole, results, policies: policies.all(), checkpoint };
}

/** A sound note (c2sp.org/signed-note) has no control character but line breaks, and is left as it is. */
function noteText(note: string): string {
  return printable(note, MAX_NOTE_CHARS).replaceAll("\t", "\ufffd");
}

function resultOf(read: ChainRead, see: (chain: ChainRead, tally: OpenTally) => void): CheckResult {
  const tally = startTally();
  tally.at(read.last ?? { chain: read.chain });
  see(read, tally);
  return tally.result();
}

/** Of the chain whose directory it was read from: one that a record names itself may be any text, in a log that does not verify. */
function headOf(chain: string, { seq, hash, time }: AuditRecord): Head {
  return { chain, seq, hash, time };
}
