import { z } from "zod";
import type { Finding } from "../continuity.ts";
import type { AuditRecord, EventBody, Json } from "../record.ts";
import { startOf } from "../truncate/beginning.ts";
import type { SealFacts } from "../truncate/seal.ts";
import { chainOf, originOf, parseCheckpoint } from "./checkpoint.ts";
import { keyring } from "./keyring.ts";
import type { KnownKeys } from "./known-keys.ts";
import { parseNote } from "./note.ts";
import { readRotation } from "./rotation.ts";
import type { SavedCheckpoint } from "./saved.ts";
import { EMPTY_TREE, grown, leafHash, rootOf, sameTree, type Tree, treeOf } from "./tree.ts";
import { type Truncated, truncations } from "./truncations.ts";

/** So long may records be without a checkpoint: a gateway that lives signs every minute. Nor may they be from so far in the future. */
const UNSIGNED_MS = 10 * 60_000;
/** And so many of them may be. */
const UNSIGNED_RECORDS = 20_000;

export interface ProofOptions {
  /** Whose signatures are believed; without them signatures are not looked at. */
  readonly keys?: KnownKeys;
  /** Checkpoints that were kept apart from the log. */
  readonly saved?: readonly SavedCheckpoint[];
  /** Whose all chains are, by its name among the keys: no other's signatures are believed. */
  readonly gateway?: string;
  /** In place of the clock; milliseconds since 1970. */
  readonly nowMs?: number;
  /** Changes of keys that were on record in what was removed from the chain's beginning. */
  readonly rotations?: SealFacts["rotations"];
}

export interface ChainEnd {
  /** How many hold. */
  readonly checkpoints: number;
  /** Records that none of them covers. */
  readonly unproven: number;
  /** Of the inventory, whose key signed. */
  readonly gateway?: string;
  /** What was removed from the chain's beginning by rule. */
  readonly truncated?: Truncated;
  /** How many records are missing at the beginning, without a signed record that says so. */
  readonly unsealed?: number;
  /** Checkpoints that were kept, and are of less than what was removed, or of other parts of the chain: there is nothing to compare with them. */
  readonly incomparable: number;
  readonly findings: readonly Finding[];
}

/** Compares the lines of a chain with what was signed of them. */
export interface ChainProof {
  /** The next line; `record` when it is a sound one. */
  see(line: Buffer, record: AuditRecord | undefined): readonly Finding[];
  end(): ChainEnd;
}

const noteFacts = z.strictObject({ note: z.string(), tree: z.unknown().optional() });
const introduction = z.strictObject({ verifier: z.string(), rotations: z.array(z.string()) });
const rotated = z.strictObject({ from: z.string(), to: z.string(), note: z.string() });

/**
 * @param chain undefined: that of the first record
 * @param whole false where its beginning is not there: what was before is taken from the first record that says so. Of a whole chain the
 *   beginning may have been removed; there, a record further down has to agree.
 */
export function chainProof(chain: string | undefined, whole: boolean, options: ProofOptions): ChainProof {
  const nowMs = options.nowMs ?? Date.now();
  const ring = options.keys && keyring(options.keys, options.gateway);
  const saved = Map.groupBy(options.saved ?? [], (it) => it.size);
  let tree: Tree | undefined = whole ? EMPTY_TREE : undefined;
  let lines = 0;
  /** Records before the first that is there. */
  let missing = 0;
  const removals = truncations(() => missing);
  let isHistoryOther = false;
  let checkpoints = 0;
  let gateway: string | undefined;
  /** Records that no checkpoint covers: how many are before them, and times of the first, the last and the earliest. */
  let tail: { size: number; firstMs: number; lastMs: number; leastMs: number } | undefined;
  let firstMs = Number.NaN;
  /** Of the last checkpoint that holds. */
  let provenMs = Number.NaN;
  /** Lines before the one that said what was before it. Who signs that line later vouches for them, by the hashes that link them. */
  let linked = 0;

  const behindCheckpoint = () => (tree === undefined ? lines : tree.size - (tail?.size ?? tree.size));
  const unproven = () => linked + behindCheckpoint();

  const startFrom = (claimed: Tree) => {
    tree = claimed;
    linked = lines - 1;
    missing = claimed.size - linked;
    for (const { note, size } of options.rotations ?? []) if (size <= missing) ring?.rotate(note, size);
  };

  const otherHistory = (message: string): Finding[] => {
    // All that follow differ with it.
    if (isHistoryOther) return [];
    isHistoryOther = true;
    return [{ kind: "root", message }];
  };

  const checkpoint = ({ facts }: EventBody, { seq, time, chain: own }: AuditRecord): Finding[] => {
    const note = parseNote(noteFacts.safeParse(facts).data?.note ?? "");
    const signed = note && parseCheckpoint(note.text);
    if (!note || !signed) return [{ kind: "signature", message: "it holds no checkpoint" }];
    if (chainOf(signed.origin) !== (chain ?? own)) return [{ kind: "signature", message: "it is of another chain" }];
    const signer = ring?.signer(note, { chain: chain ?? own, size: signed.size, timeMs: Date.parse(time) });
    if (signer && "problem" in signer) return [{ kind: "signature", message: signer.problem }];
    if (signer && signed.origin !== originOf(signer.verifier.name, chain ?? own)) {
      return [{ kind: "signature", message: "it is of another log of the same key" }];
    }
    if (signed.size !== seq) return otherHistory(`it covers ${signed.size} records, and stands behind ${seq}`);
    const carried = carriesTree(facts) ? treeOf(facts) : undefined;
    if (carriesTree(facts) && !(carried?.size === seq && rootOf(carried).equals(signed.root))) {
      return otherHistory("the tree that it carries is not the one that was signed");
    }
    if (!tree) {
      if (carried) startFrom(carried);
      return [];
    }
    if (signed.size !== tree.size || !signed.root.equals(rootOf(tree))) {
      return otherHistory("the records before it are not those that were signed");
    }
    checkpoints += 1;
    removals.signed();
    gateway = signer?.gateway;
    tail = undefined;
    provenMs = Date.parse(time);
    linked = 0;
    return [];
  };

  const event = (body: EventBody, record: AuditRecord): readonly Finding[] => {
    const { facts } = body;
    switch (body.event) {
      case "checkpoint":
        return checkpoint(body, record);
      case "segment-started": {
        const claimed = treeOf(facts);
        if (!tree || !carriesTree(facts)) return [];
        return claimed && sameTree(claimed, tree)
          ? []
          : otherHistory("the tree that it carries is not that of the records before it");
      }
      case "audit-key": {
        const { data } = introduction.safeParse(facts);
        if (!data) return [{ kind: "signature", message: "it names no key" }];
        return ring ? [...asFound(), ...changes(data.rotations, record.seq)] : [];
      }
      case "audit-key-rotated": {
        const { data } = rotated.safeParse(facts);
        const { from, to } = readRotation(data?.note ?? "") ?? {};
        if (!data || from?.line !== data.from || to?.line !== data.to) {
          return [{ kind: "signature", message: "it is no change of keys that both of them signed" }];
        }
        return ring ? changes([data.note], record.seq + 1) : [];
      }
      default:
        return [];
    }
  };

  /** What a gateway finds unsigned when it starts, its first checkpoint covers: a signature of nobody who saw it written. */
  const asFound = (): Finding[] => {
    const found = behindCheckpoint();
    if (!tail) return [];
    const isOlder = tail.leastMs < provenMs - UNSIGNED_MS;
    if (found <= UNSIGNED_RECORDS && !isFar(tail.firstMs, tail.lastMs) && !isOlder) return [];
    return [{ kind: "unsigned", message: `${found} records before it were signed as a later start found them` }];
  };

  const extendTail = (size: number, record: AuditRecord | undefined) => {
    const timeMs = Date.parse(record?.time ?? "");
    tail ??= { size, firstMs: timeMs, lastMs: timeMs, leastMs: timeMs };
    // A start may have written that one: it is no later record of the gateway that left the others.
    if (!record || (record.body.kind === "event" && record.body.event === "segment-started")) return;
    tail.lastMs = timeMs;
    tail.leastMs = Math.min(tail.leastMs, timeMs);
  };

  const changes = (notes: readonly string[], size: number): Finding[] => {
    const problems = notes.map((it) => ring?.rotate(it, size)).filter((it) => it !== undefined);
    // A key may be in the inventory although those before it are not.
    return problems.length === notes.length
      ? problems.slice(0, 1).map((message) => ({ kind: "signature", message }))
      : [];
  };

  const compareSaved = (): Finding[] => {
    const size = tree?.size ?? -1;
    const here = saved.get(size);
    if (!tree || !here) return [];
    saved.delete(size);
    const root = rootOf(tree);
    if (here.every((it) => it.root.equals(root))) return [];
    return [{ kind: "forked", message: `the first ${size} records are not those of the checkpoint that was kept` }];
  };

  const see: ChainProof["see"] = (line, record) => {
    lines += 1;
    const start = record && (whole ? lines === 1 : !tree) ? startOf(record) : undefined;
    if (start) startFrom(start.tree);
    const forked = compareSaved();
    const { body } = record ?? {};
    const sealed = record ? removals.see(record, tree) : [];
    const found = [...sealed, ...(record && body?.kind === "event" ? event(body, record) : [])];
    if (tree) {
      const isCheckpoint = body?.kind === "event" && body.event === "checkpoint" && found.length === 0;
      if (!isCheckpoint) extendTail(tree.size, record);
      tree = grown(tree, leafHash(line));
    }
    if (record && Number.isNaN(firstMs)) firstMs = Date.parse(record.time);
    const seq = record?.seq;
    return [...forked, ...found].map((it) => (seq === undefined ? it : { ...it, seq }));
  };

  const end: ChainProof["end"] = () => {
    const findings: Finding[] = [...compareSaved()];
    const size = tree?.size ?? lines;
    const newest = [...saved.keys()].reduce((most, it) => Math.max(most, it), 0);
    if (whole && newest > size) {
      const message = `it has ${size} records, and the checkpoint that was kept has ${newest}: its end was cut off`;
      findings.push({ kind: "missing", message });
    }
    if (ring && !tree && lines > 0) {
      const message =
        "nothing in it says what was before it, so no signature of it can be checked: verify the whole chain";
      findings.push({ kind: "unsigned", message });
    }
    if (ring && !isHistoryOther && isOverdue()) {
      const what =
        checkpoints === 0 ? `none of its ${unproven()} records is` : `its last ${unproven()} records are not`;
      // What says where these records stand can't be checked itself: they are linked to it, and nothing is signed behind it.
      const or = linked > 0 ? "retention cut between its last two checkpoints, or " : "";
      const message = `${what} signed by a known key: ${or}the gateway that wrote them died, or it was not a gateway`;
      findings.push({ kind: "unsigned", message });
    }
    const isElsewhere = (it: number) => it < missing || (!whole && it > size);
    const incomparable = [...saved].filter(([it]) => isElsewhere(it)).reduce((sum, [, them]) => sum + them.length, 0);
    if (incomparable > 0 && incomparable === options.saved?.length) {
      const [why, what] = whole ? ["that were removed since", "is left"] : ["before or behind it", "is there"];
      const message = `all checkpoints that were kept are of records ${why}: nothing that was kept vouches for what ${what}`;
      findings.push({ kind: "missing", message });
    }
    return {
      ...{ checkpoints, unproven: unproven(), findings, incomparable },
      ...(gateway !== undefined && { gateway }),
      ...(whole && removals.end()),
    };
  };

  const isOverdue = () => {
    if (linked > 0) return isFar(firstMs, nowMs);
    return tail !== undefined && (unproven() > UNSIGNED_RECORDS || isFar(tail.firstMs, nowMs));
  };

  return { see, end };
}

function carriesTree(facts: Json): boolean {
  return typeof facts === "object" && facts !== null && "tree" in facts;
}

/** True of what is no moment, too. */
function isFar(aMs: number, bMs: number): boolean {
  return !(Math.abs(aMs - bMs) <= UNSIGNED_MS);
}
