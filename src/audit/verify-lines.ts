import { type Continuity, continuity, type Finding } from "./continuity.ts";
import { readLines } from "./files.ts";
import { type ReadLine, readLine } from "./line.ts";
import { notSealed } from "./proof/truncations.ts";
import { startOf } from "./truncate/beginning.ts";
import { readSeal, type SealFacts } from "./truncate/seal.ts";
import {
  add,
  BEGINNING,
  type Context,
  endProof,
  missingChains,
  newContext,
  proofOf,
  type Seen,
  seeLine,
  type Verification,
  type VerifyOptions,
} from "./verification.ts";

/** Of each chain, the last records whose repetition is known; a receiver gets the batch again of which it did not confirm that it has it. */
const REMEMBERED = 20_000;

/** Of one chain among the lines. */
interface ChainSeen extends Seen {
  readonly check: Continuity;
  /** Hashes of the last records, by number. */
  readonly hashes: Map<number, string>;
}

/**
 * Checks the records in a file, one a line, that have left the log: an export, or what a receiver of central logging has. They may be of several
 * chains, mixed; those of one chain stand in its order, from its first record on. A record that was delivered again counts once. What files and heads
 * could tell is not asked for. Memory is bounded by the number of chains.
 * @throws the file system's error when the file can't be read
 */
export async function verifyLines(path: string, options: VerifyOptions = {}): Promise<Verification> {
  const context = newContext(options);
  const rotations = await rotationsIn(path);
  const chains = new Map<string, ChainSeen>();
  /** Of the line before: one that can't be read is taken for its chain's. */
  let current = "";
  for await (const lines of readLines(path)) {
    for (const { bytes, number, terminated } of lines) {
      context.tally.bytes += bytes.length + (terminated ? 1 : 0);
      if (bytes.length === 0) continue;
      const read = readLine(bytes);
      if (read.sound) current = read.record.chain;
      const report = (finding: Finding) => add(context, { chain: current, file: "", line: number, ...finding });
      const chain = chains.get(current) ?? begin(context, current, read, rotations);
      if (!chain) {
        if (!read.sound) report({ kind: read.kind, message: read.message });
        continue;
      }
      chains.set(current, chain);
      if (!isRepeated(chain, read)) seeLine(context, chain, bytes, report, read);
    }
  }
  for (const [chain, { proof }] of chains) {
    const { unsealed } = endProof(context, chain, proof);
    if (unsealed !== undefined)
      add(context, { chain, file: "", line: 0, ...notSealed(`${unsealed} records before it`) });
  }
  missingChains(context, [...chains.keys()]);
  return context.tally;
}

/** Nothing while no line could be read: it is of no chain that is known. */
function begin(context: Context, chain: string, read: ReadLine, rotations: Rotations): ChainSeen | undefined {
  if (!read.sound) return undefined;
  context.tally.chains += 1;
  const check = continuity(chain, startOf(read.record) ? undefined : BEGINNING);
  return { check, proof: proofOf(context, chain, true, rotations.get(chain)), hashes: new Map() };
}

/** Whether a line was there before, and remembers it otherwise. */
function isRepeated({ hashes }: ChainSeen, read: ReadLine): boolean {
  if (!read.sound) return false;
  const { seq, hash } = read.record;
  if (hashes.get(seq) === hash) return true;
  hashes.set(seq, hash);
  for (const oldest of hashes.keys()) {
    if (hashes.size <= REMEMBERED) break;
    hashes.delete(oldest);
  }
  return false;
}

type Rotations = ReadonlyMap<string, SealFacts["rotations"]>;

/** Changes of keys on record in what was removed from the beginnings of chains: the records that say so stand further down. */
async function rotationsIn(path: string): Promise<Rotations> {
  const rotations = new Map<string, SealFacts["rotations"]>();
  for await (const lines of readLines(path)) {
    for (const { bytes } of lines) {
      if (!bytes.includes('"event":"log-truncated"')) continue;
      const read = readLine(bytes);
      const seal = read.sound && readSeal(read.record);
      if (seal) rotations.set(read.record.chain, seal.facts.rotations);
    }
  }
  return rotations;
}
