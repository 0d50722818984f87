import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { isChainDirectory, isHeld } from "./chain.ts";
import { continuity, type Finding } from "./continuity.ts";
import { HEAD_FILE, listChains, listSegments, readLines, segmentName, segmentNumber } from "./files.ts";
import { readHead } from "./head.ts";
import { type Position, readLine } from "./line.ts";
import { notSealed } from "./proof/truncations.ts";
import { newestSeal } from "./truncate/beginning.ts";
import {
  add,
  BEGINNING,
  type Context,
  endProof,
  MAX_PROBLEMS,
  missingChains,
  newContext,
  proofOf,
  type Seen,
  seeLine,
  type Verification,
  type VerifyOptions,
} from "./verification.ts";
import { verifyLines } from "./verify-lines.ts";

/** A chain that is truncated again and again while it is read is given up on. */
const MAX_TRIES = 5;

/**
 * Checks an audit directory, one chain's directory, or one segment file on its own (which says nothing of what was before and
 * after it), each as it is when the check reaches it; a gateway may be writing meanwhile. A file of another name holds lines that have left the log
 * (`verifyLines`). Changes nothing. Memory is bounded.
 * @throws the file system's error when something can't be read; GatewayError CONFIG_INVALID when old records are removed while `onRecord` is given them
 */
export async function verifyLog(path: string, options: VerifyOptions = {}): Promise<Verification> {
  const context = newContext(options);
  if (!(await stat(path)).isDirectory()) {
    if (segmentNumber(basename(path)) === undefined) return await verifyLines(path, options);
    await verifyFile(context, path);
  } else if (await isChainDirectory(path)) await verifyWhole(context, path);
  else await verifyChains(context, path);
  return context.tally;
}

async function verifyChains(context: Context, directory: string): Promise<void> {
  const chains = await listChains(directory);
  for (const chain of chains) await verifyWhole(context, join(directory, chain));
  missingChains(context, chains);
}

async function verifyFile(context: Context, path: string): Promise<void> {
  context.tally.chains += 1;
  const first = segmentNumber(basename(path)) === 1;
  const check = continuity(undefined, first ? BEGINNING : undefined);
  const proof = proofOf(context, await chainIn(path), first);
  const place: Place = { chain: "", directory: dirname(path), name: basename(path) };
  await verifySegment(context, place, { check, proof }, () => undefined, true);
  endProof(context, "", proof);
}

/** Of the first sound record in a file. */
async function chainIn(path: string): Promise<string | undefined> {
  for await (const lines of readLines(path)) {
    for (const { bytes } of lines) {
      const read = readLine(bytes);
      if (read.sound) return read.record.chain;
    }
  }
  return undefined;
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
