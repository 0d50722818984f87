import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { isChainDirectory, isHeld } from "./chain.ts";
import { type Continuity, continuity, type Finding, type ProblemKind } from "./continuity.ts";
import { HEAD_FILE, listChains, listSegments, readLines, segmentName, segmentNumber } from "./files.ts";
import { readHead } from "./head.ts";
import { GENESIS_HASH, type Position } from "./line.ts";
import { type ChainEnd, type ChainProof, chainProof, type ProofOptions } from "./proof/chain-proof.ts";
import type { SavedCheckpoint } from "./proof/saved.ts";
import { isTruncated, notSealed, type Truncated } from "./proof/truncations.ts";
import type { AuditRecord } from "./record.ts";
import { newestSeal } from "./truncate/beginning.ts";

/** More are counted, not kept. */
const MAX_PROBLEMS = 1_000;
/** A chain that is truncated again and again while it is read is given up on. */
const MAX_TRIES = 5;

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

/** What gateways signed of the chains that were checked. */
export interface Proven {
  /** Signed checkpoints that hold. */
  readonly checkpoints: number;
  /** Records that none of them covers: the next ones will. */
  readonly unproven: number;
  /** Whether the signatures were compared with known keys. */
  readonly signatures: "checked" | "not-checked";
  /** Of the inventory, whose keys signed: by chain. */
  readonly gateways: Readonly<Record<string, string>>;
  /** What was removed from the beginnings of chains by rule, as signed records say: by chain. */
  readonly truncated: Readonly<Record<string, Truncated>>;
  /** Checkpoints that were kept, of records that are not there any more: they can't be compared. */
  readonly incomparable: number;
}

export interface Verification extends Proven {
  readonly chains: number;
  readonly records: number;
  /** Of all segments that were read. */
  readonly bytes: number;
  /** The first 1,000. */
  readonly problems: readonly Problem[];
  /** How many there are. */
  readonly problemCount: number;
}

export interface VerifyOptions extends ProofOptions {
  /** Is given each sound record as it is checked, once, chain by chain: what it learns holds when there are no problems. */
  readonly onRecord?: (record: AuditRecord) => void;
}

/**
 * Checks an audit directory, one chain's directory, or one segment file on its own (which says nothing of what was before and
 * after it), each as it is when the check reaches it; a gateway may be writing meanwhile. Changes nothing. Memory is bounded.
 * @throws the file system's error when something can't be read; GatewayError CONFIG_INVALID when old records are removed while `onRecord` is given them
 */
export async function verifyLog(path: string, options: VerifyOptions = {}): Promise<Verification> {
  const context = newContext(options);
  if ((await stat(path)).isFile()) await verifyFile(context, path);
  else if (await isChainDirectory(path)) await verifyWhole(context, path);
  else await verifyChains(context, path);
  return context.tally;
}

/**
 * Checks the lines of one chain from its first record on, wherever they come from, in the same way. What a file or a head could tell is not asked for.
 * @param lines without their newlines
 * @param options `rotations` where the beginning was removed: those of the record that says so, which stands further down
 */
export async function verifyLines(
  chain: string,
  lines: AsyncIterable<Buffer>,
  options: VerifyOptions = {},
): Promise<Verification> {
  const context = newContext(options);
  context.tally.chains += 1;
  const proof = proofOf(context, chain);
  let check: Continuity | undefined;
  let line = 0;
  for await (const bytes of lines) {
    line += 1;
    context.tally.bytes += bytes.length + 1;
    check ??= continuity(chain, isTruncated(bytes) ? undefined : BEGINNING);
    seeLine(context, { check, proof }, bytes, (finding) => add(context, { chain, file: "", line, ...finding }));
  }
  const { unsealed } = endProof(context, chain, proof);
  if (unsealed !== undefined) add(context, { chain, file: "", line: 1, ...notSealed(`${unsealed} records before it`) });
  return context.tally;
}

const BEGINNING: Position = { seq: -1, hash: GENESIS_HASH };

type Tally = {
  -readonly [Name in Exclude<keyof Verification, "problems" | "gateways" | "truncated">]: Verification[Name];
} & {
  readonly problems: Problem[];
  readonly gateways: Record<string, string>;
  readonly truncated: Record<string, Truncated>;
};

interface Context {
  readonly tally: Tally;
  readonly options: VerifyOptions;
  readonly savedByChain: ReadonlyMap<string, readonly SavedCheckpoint[]>;
}

function newContext(options: VerifyOptions): Context {
  const counts = { chains: 0, records: 0, bytes: 0, problemCount: 0, checkpoints: 0, unproven: 0, incomparable: 0 };
  const signatures = options.keys ? "checked" : "not-checked";
  const savedByChain = Map.groupBy(options.saved ?? [], (it) => it.chain);
  return { tally: { ...counts, signatures, problems: [], gateways: {}, truncated: {} }, options, savedByChain };
}

/** What is known of a chain up to a line. */
interface Seen {
  readonly check: Continuity;
  readonly proof: ChainProof;
}

function proofOf(
  { options, savedByChain }: Context,
  chain: string | undefined,
  whole = true,
  rotations: ProofOptions["rotations"] = options.rotations ?? [],
): ChainProof {
  const saved = (chain !== undefined && savedByChain.get(chain)) || [];
  return chainProof(chain, whole, { ...options, saved, rotations });
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

function endProof(context: Context, chain: string, proof: ChainProof): ChainEnd {
  const { tally } = context;
  const end = proof.end();
  const { findings, gateway, truncated } = end;
  tally.checkpoints += end.checkpoints;
  tally.unproven += end.unproven;
  tally.incomparable += end.incomparable;
  if (gateway !== undefined) tally.gateways[chain] = gateway;
  if (truncated) tally.truncated[chain] = truncated;
  for (const finding of findings) add(context, { chain, file: "", line: 0, ...finding });
  return end;
}

async function verifyChains(context: Context, directory: string): Promise<void> {
  const chains = await listChains(directory);
  for (const chain of chains) await verifyWhole(context, join(directory, chain));
  for (const [chain, saved] of context.savedByChain) {
    if (chains.includes(chain)) continue;
    const message = `the whole chain is gone: a checkpoint of ${saved.reduce((most, it) => Math.max(most, it.size), 0)} records was kept`;
    add(context, { chain, file: "", line: 0, kind: "missing", message });
  }
}

async function verifyFile(context: Context, path: string): Promise<void> {
  context.tally.chains += 1;
  const first = segmentNumber(basename(path)) === 1;
  const check = continuity(undefined, first ? BEGINNING : undefined);
  const proof = proofOf(context, undefined, first);
  const place: Place = { chain: "", directory: dirname(path), name: basename(path) };
  await verifySegment(context, place, { check, proof }, () => undefined, true);
  endProof(context, "", proof);
}

/** A chain, once more when a segment goes while it is read: a gateway may be removing old ones. */
async function verifyWhole(context: Context, directory: string): Promise<void> {
  const { tally } = context;
  for (let tries = 1; ; tries += 1) {
    const before = { ...tally };
    const problems = tally.problems.length;
    try {
      return await verifyChain(context, directory);
    } catch (error) {
      if (!isMissing(error) || tries === MAX_TRIES) throw error;
      if (context.options.onRecord && tally.records > before.records) {
        throw new GatewayError(
          "CONFIG_INVALID",
          `old records of ${basename(directory)} were removed meanwhile: try again`,
        );
      }
      Object.assign(tally, before);
      tally.problems.length = problems;
    }
  }
}

async function verifyChain(context: Context, directory: string): Promise<void> {
  context.tally.chains += 1;
  const chain = basename(directory);
  // Before the segments: a gateway that goes on writing only leaves it behind the log.
  const head = await readHead(directory);
  const numbers = await listSegments(directory);
  const report = (finding: Finding, file: string) => add(context, { chain, file, line: 0, ...finding });
  const [oldest = 1] = numbers;
  const check = continuity(chain, oldest === 1 ? BEGINNING : undefined);
  const seal = oldest === 1 ? undefined : await newestSeal(directory, numbers);
  const proof = proofOf(context, chain, true, seal?.facts.rotations);
  let headSeen = typeof head !== "string" && head.seq === -1;
  const see = (record: Position) => {
    headSeen ||= typeof head !== "string" && record.seq === head.seq && record.hash === head.hash;
  };
  let expected = oldest;
  for (const number of numbers) {
    // However large the number in a file's name is.
    for (const end = Math.min(number, expected + MAX_PROBLEMS); expected < end; expected++) {
      report({ kind: "segment", message: "it is missing" }, segmentName(expected));
    }
    expected = number + 1;
    const place = { chain, directory, name: segmentName(number) };
    await verifySegment(context, place, { check, proof }, see, number === numbers.at(-1));
  }
  const { truncated } = endProof(context, chain, proof);
  if (oldest > 1 && !truncated) report(notSealed(`it and all before ${segmentName(oldest)}`), segmentName(1));
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
