import { GENESIS_HASH, type Position, type ReadLine } from "./line.ts";
import type { AuditRecord } from "./record.ts";

/**
 * `torn`: half a record at the very end, as a crash leaves it and the next start repairs it. Everything else is damage:
 * `syntax`, `form`, `hash`: a record that is not as it was written. `link`: it does not follow the one before. `sequence`:
 * records are missing, doubled or in another order. `chain`: it belongs to another chain. `segment`: a file is missing or
 * does not begin as a segment does. `head`: the log does not reach, or contradicts, what its head says.
 * Against what was signed: `root`: the records are others. `signature`: not one of a known key. `unsigned`: no known key signed the records.
 * Against checkpoints that were kept elsewhere: `forked`: the records are others. `missing`: they are gone.
 */
export type ProblemKind =
  | ("torn" | "syntax" | "form" | "hash" | "link" | "sequence" | "chain" | "segment" | "head")
  | ("root" | "signature" | "unsigned" | "forked" | "missing");

export interface Finding {
  readonly kind: ProblemKind;
  readonly message: string;
  readonly seq?: number;
}

export interface CheckedLine {
  /** Present when the line is a sound record, wherever it stands. */
  readonly record?: AuditRecord;
  readonly findings: readonly Finding[];
}

/** Checks line after line of one chain. Goes on behind a damaged one, so that each damage is reported once, where it is. */
export interface Continuity {
  check(line: ReadLine): CheckedLine;
  /** The last sound record, or where the check began. */
  readonly position: Position;
}

/** `from` undefined: the first line is taken as it is (a segment on its own). */
export function continuity(chain: string | undefined, from: Position | undefined): Continuity {
  let position = from ?? { seq: -1, hash: GENESIS_HASH };
  // What the next sequence number may be: one value, or more behind lines that can't be read. Undefined: anything.
  let expected = from === undefined ? undefined : { least: from.seq + 1, most: from.seq + 1 };
  let expectedPrev: readonly string[] = from === undefined ? [] : [from.hash];
  let expectedChain = chain;

  const check = (line: ReadLine): CheckedLine => {
    if (!line.sound) {
      const { kind, message, seq = expected?.most } = line;
      if (expected) expected = { least: expected.least, most: expected.most + 1 };
      expectedPrev = line.hashes;
      return { findings: [{ kind, message, ...(seq === undefined ? {} : { seq }) }] };
    }
    const { record } = line;
    const { seq } = record;
    const findings: Finding[] = [];
    if (expectedChain !== undefined && record.chain !== expectedChain) {
      findings.push({ kind: "chain", seq, message: "it belongs to another chain" });
    }
    if (expected && (seq < expected.least || seq > expected.most)) {
      findings.push({ kind: "sequence", seq, message: outOfSequence(seq, expected.most) });
    } else if (expectedPrev.length > 0 && !expectedPrev.includes(record.prev)) {
      const message = "it does not follow the record before: that one was replaced, or this one";
      findings.push({ kind: "link", seq, message });
    }
    expectedChain ??= record.chain;
    expected = { least: seq + 1, most: seq + 1 };
    expectedPrev = [record.hash];
    position = { seq, hash: record.hash };
    return { record, findings };
  };
  return {
    check,
    get position() {
      return position;
    },
  };
}

function outOfSequence(seq: number, expected: number): string {
  if (seq < expected) return `record ${seq} stands where ${expected} should: doubled or moved`;
  const missing = seq - expected === 1 ? `record ${expected} is` : `records ${expected} to ${seq - 1} are`;
  return `${missing} missing before it`;
}
