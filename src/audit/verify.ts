import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isChainDirectory, isHeld } from "./chain.ts";
import { type Continuity, continuity, type Finding, type ProblemKind } from "./continuity.ts";
import { HEAD_FILE, listChains, listSegments, readLines, segmentName, segmentNumber } from "./files.ts";
import { readHead } from "./head.ts";
import { GENESIS_HASH, type Position } from "./line.ts";
import { type ChainProof, chainProof, type ProofOptions } from "./proof/chain-proof.ts";
import type { SavedCheckpoint } from "./proof/saved.ts";
import type { AuditRecord } from "./record.ts";

/** More are counted, not kept. */
const MAX_PROBLEMS = 1_000;

/** Something that is not as it was written, with its place. */
export interface Problem {
  readonly kind: ProblemKind;
  /** Id of the chain; empty for a file on its own whose records don't say. */
  readonly chain: string;
  readonly file: string;
  /** From 1; 0 when it is about the file as a whole. */
  readonly line: number;
  readonly seq?: number;
  readonly message: string;
}

export interface Verification {
  readonly chains: number;
  readonly records: number;
  /** Of all segments that were read. */
  readonly bytes: number;
  /** The first 1,000. */
  readonly problems: readonly Problem[];
  /** How many there are. */
  readonly problemCount: number;
  /** Signed checkpoints that hold. */
  readonly checkpoints: number;
  /** Records that none of them covers: the next ones will. */
  readonly unproven: number;
  /** Whether the signatures were compared with known keys. */
  readonly signatures: "checked" | "not-checked";
  /** Of the inventory, whose keys signed: by chain. */
  readonly gateways: Readonly<Record<string, string>>;
}

export interface VerifyOptions extends ProofOptions {
  /** Is given each sound record as it is checked, chain by chain: what it learns holds when there are no problems. */
  readonly onRecord?: (record: AuditRecord) => void;
}

/**
 * Checks an audit directory, one chain's directory, or one segment file on its own (which says nothing of what was before and
 * after it), each as it is when the check reaches it; a gateway may be writing meanwhile. Changes nothing. Memory is bounded.
 * @throws the file system's error when something can't be read
 */
export async function verifyLog(path: string, options: VerifyOptions = {}): Promise<Verification> {
  const context = newContext(options);
  if ((await stat(path)).isFile()) await verifyFile(context, path);
  else if (await isChainDirectory(path)) await verifyChain(context, path);
  else await verifyChains(context, path);
  return context.tally;
}

/**
 * Checks the lines of one chain from its first record on, wherever they come from, in the same way. What a file or a head could tell is not asked for.
 * @param lines without their newlines
 */
export async function verifyLines(
  chain: string,
  lines: AsyncIterable<Buffer>,
  options: VerifyOptions = {},
): Promise<Verification> {
  const context = newContext(options);
  context.tally.chains += 1;
  const seen: Seen = { check: continuity(chain, { seq: -1, hash: GENESIS_HASH }), proof: proofOf(context, chain) };
  let line = 0;
  for await (const bytes of lines) {
    line += 1;
    context.tally.bytes += bytes.length + 1;
    seeLine(context, seen, bytes, (finding) => add(context, { chain, file: "", line, ...finding }));
  }
  endProof(context, chain, seen.proof);
  return context.tally;
}

interface Context {
  readonly tally: {
    -readonly [Name in Exclude<keyof Verification, "problems" | "gateways">]: Verification[Name];
  } & { readonly problems: Problem[]; readonly gateways: Record<string, string> };
  readonly options: VerifyOptions;
  readonly savedByChain: ReadonlyMap<string, readonly SavedCheckpoint[]>;
}

function newContext(options: VerifyOptions): Context {
  const counts = { chains: 0, records: 0, bytes: 0, problemCount: 0, checkpoints: 0, unproven: 0 };
  const signatures = options.keys ? "checked" : "not-checked";
  const savedByChain = Map.groupBy(options.saved ?? [], (it) => it.chain);
  return { tally: { ...counts, signatures, problems: [], gateways: {} }, options, savedByChain };
}

/** What is known of a chain up to a line. */
interface Seen {
  readonly check: Continuity;
  readonly proof: ChainProof;
}

function proofOf({ options, savedByChain }: Context, chain: string | undefined, whole = true): ChainProof {
  return chainProof(chain, whole, { ...options, saved: (chain !== undefined && savedByChain.get(chain)) || [] });
}

function seeLine({ tally, options }: Context, { check, proof }: Seen, bytes: Buffer, report: (it: Finding) => void) {
  const { record, findings } = check.check(bytes);
  for (const finding of [...findings, ...proof.see(bytes, record)]) report(finding);
  if (record) {
    tally.records += 1;
    options.onRecord?.(record);
  }
  return record;
}

function endProof(context: Context, chain: string, proof: ChainProof): void {
  const { checkpoints, unproven, findings, gateway } = proof.end();
  context.tally.checkpoints += checkpoints;
  context.tally.unproven += unproven;
  if (gateway !== undefined) context.tally.gateways[chain] = gateway;
  for (const finding of findings) add(context, { chain, file: "", line: 0, ...finding });
}

async function verifyChains(context: Context, directory: string): Promise<void> {
  const chains = await listChains(directory);
  for (const chain of chains) await verifyChain(context, join(directory, chain));
  for (const [chain, saved] of context.savedByChain) {
    if (chains.includes(chain)) continue;
    const message = `the whole chain is gone: a checkpoint of ${saved.reduce((most, it) => Math.max(most, it.size), 0)} records was kept`;
    add(context, { chain, file: "", line: 0, kind: "missing", message });
  }
}

async function verifyFile(context: Context, path: string): Promise<void> {
  context.tally.chains += 1;
  const first = segmentNumber(basename(path)) === 1;
  const check = continuity(undefined, first ? { seq: -1, hash: GENESIS_HASH } : undefined);
  const proof = proofOf(context, undefined, first);
  const place: Place = { chain: "", directory: dirname(path), name: basename(path) };
  await verifySegment(context, place, { check, proof }, () => undefined, true);
  endProof(context, "", proof);
}

async function verifyChain(context: Context, directory: string): Promise<void> {
  context.tally.chains += 1;
  const chain = basename(directory);
  // Before the segments: a gateway that goes on writing only leaves it behind the log.
  const head = await readHead(directory);
  const numbers = await listSegments(directory);
  const report = (finding: Finding, file: string) => add(context, { chain, file, line: 0, ...finding });
  const check = continuity(chain, { seq: -1, hash: GENESIS_HASH });
  const proof = proofOf(context, chain);
  let headSeen = typeof head !== "string" && head.seq === -1;
  const see = (record: Position) => {
    headSeen ||= typeof head !== "string" && record.seq === head.seq && record.hash === head.hash;
  };
  let expected = 1;
  for (const number of numbers) {
    for (; expected < number; expected++) report({ kind: "segment", message: "it is missing" }, segmentName(expected));
    expected = number + 1;
    const place = { chain, directory, name: segmentName(number) };
    await verifySegment(context, place, { check, proof }, see, number === numbers.at(-1));
  }
  endProof(context, chain, proof);
  // A chain that was made and never written has neither head nor records.
  if (typeof head === "string") {
    if (numbers.length > 0) report({ kind: "head", message: `it is ${head}` }, HEAD_FILE);
    return;
  }
  const { seq } = check.position;
  if (head.seq > seq) {
    const message = `the log ends at record ${seq} and had reached ${head.seq}: its end was cut off or damaged`;
    report({ kind: "head", seq: head.seq, message }, numbers.length > 0 ? segmentName(expected - 1) : segmentName(1));
  } else if (!headSeen) {
    report(
      { kind: "head", seq: head.seq, message: `record ${head.seq} is not the one that the head names` },
      HEAD_FILE,
    );
  }
}

interface Place {
  readonly chain: string;
  readonly directory: string;
  readonly name: string;
}

async function verifySegment(
  context: Context,
  { chain, directory, name }: Place,
  seen: Seen,
  see: (record: Position) => void,
  isLast: boolean,
): Promise<void> {
  const { tally } = context;
  const report = (line: number, finding: Finding) => add(context, { chain, file: name, line, ...finding });
  let first = true;
  for await (const lines of readLines(join(directory, name))) {
    for (const { bytes, number, terminated } of lines) {
      tally.bytes += bytes.length + (terminated ? 1 : 0);
      if (!terminated) {
        if (isLast && isHeld(directory)) continue;
        report(number, tornOrCut(isLast));
        continue;
      }
      const record = seeLine(context, seen, bytes, (finding) => report(number, finding));
      if (record) {
        see(record);
        if (first && segmentNumber(name) !== 1 && !startsSegment(record.body)) {
          report(number, { kind: "segment", seq: record.seq, message: "it does not begin as a segment does" });
        }
      }
      first = false;
    }
  }
  if (first && !isLast) report(0, { kind: "segment", message: "it is empty" });
}

function tornOrCut(isLast: boolean): Finding {
  if (!isLast) return { kind: "syntax", message: "it does not end with a newline" };
  const message =
    "half a record at the end of the log, as a crash leaves it; the next start of a gateway moves it aside";
  return { kind: "torn", message };
}

function startsSegment(body: { kind: string; event?: string }): boolean {
  return body.kind === "event" && body.event === "segment-started";
}

function add({ tally }: Context, problem: Problem): void {
  tally.problemCount += 1;
  if (tally.problems.length < MAX_PROBLEMS) tally.problems.push(problem);
}
