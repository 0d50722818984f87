import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isHeld } from "./chain.ts";
import { type Continuity, continuity, type Finding, type ProblemKind } from "./continuity.ts";
import { HEAD_FILE, listChains, listSegments, readLines, segmentName, segmentNumber } from "./files.ts";
import { readHead } from "./head.ts";
import { GENESIS_HASH, type Position } from "./line.ts";
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
}

/**
 * Checks an audit directory, one chain's directory, or one segment file on its own (which says nothing of what was before and
 * after it), each as it is when the check reaches it; a gateway may be writing meanwhile. Changes nothing. Memory is bounded.
 * @param onRecord is given each sound record as it is checked, chain by chain: what it learns holds when there are no problems
 * @throws the file system's error when something can't be read
 */
export async function verifyLog(
  path: string,
  onRecord: (record: AuditRecord) => void = () => undefined,
): Promise<Verification> {
  const tally = { chains: 0, records: 0, bytes: 0, problems: [] as Problem[], problemCount: 0 };
  const context: Context = { tally, onRecord };
  if ((await stat(path)).isFile()) await verifyFile(context, path);
  else if (await isChainDirectory(path)) await verifyChain(context, path);
  else for (const chain of await listChains(path)) await verifyChain(context, join(path, chain));
  return tally;
}

interface Context {
  readonly tally: { chains: number; records: number; bytes: number; problems: Problem[]; problemCount: number };
  readonly onRecord: (record: AuditRecord) => void;
}

async function isChainDirectory(path: string): Promise<boolean> {
  return (await listSegments(path)).length > 0 || typeof (await readHead(path)) !== "string";
}

async function verifyFile(context: Context, path: string): Promise<void> {
  context.tally.chains += 1;
  const first = segmentNumber(basename(path)) === 1;
  const check = continuity(undefined, first ? { seq: -1, hash: GENESIS_HASH } : undefined);
  const place: Place = { chain: "", directory: dirname(path), name: basename(path) };
  await verifySegment(context, place, check, () => undefined, true);
}

async function verifyChain(context: Context, directory: string): Promise<void> {
  context.tally.chains += 1;
  const chain = basename(directory);
  // Before the segments: a gateway that goes on writing only leaves it behind the log.
  const head = await readHead(directory);
  const numbers = await listSegments(directory);
  const report = (finding: Finding, file: string) => add(context, { chain, file, line: 0, ...finding });
  const check = continuity(chain, { seq: -1, hash: GENESIS_HASH });
  let headSeen = typeof head !== "string" && head.seq === -1;
  const see = (record: Position) => {
    headSeen ||= typeof head !== "string" && record.seq === head.seq && record.hash === head.hash;
  };
  let expected = 1;
  for (const number of numbers) {
    for (; expected < number; expected++) report({ kind: "segment", message: "it is missing" }, segmentName(expected));
    expected = number + 1;
    const place = { chain, directory, name: segmentName(number) };
    await verifySegment(context, place, check, see, number === numbers.at(-1));
  }
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
  check: Continuity,
  see: (record: Position) => void,
  isLast: boolean,
): Promise<void> {
  const { tally, onRecord } = context;
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
      const { record, findings } = check.check(bytes);
      for (const finding of findings) report(number, finding);
      if (record) {
        tally.records += 1;
        see(record);
        onRecord(record);
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
