import type { Finding } from "../continuity.ts";
import type { AuditRecord } from "../record.ts";
import { startOf } from "../truncate/beginning.ts";
import { readSeal } from "../truncate/seal.ts";
import { rootOf, sameTree, type Tree } from "./tree.ts";

/** Beginnings of segments that are remembered until a seal is compared with them: 800 GB of log. */
const MAX_STARTS = 100_000;

/** What was removed from the beginning of a chain by rule, and is not there any more. */
export interface Truncated {
  readonly records: number;
  /** What was older was to go; RFC 3339. */
  readonly before: string;
}

/**
 * Whether what is missing at a chain's beginning was removed by rule: a record further down names the last of those records and the tree over all of
 * them, and a checkpoint that the same gateway signed covers that record. Of a removal that was cut short, what is left has to lead to that tree.
 */
export interface Truncations {
  /** @param tree over all records before */
  see(record: AuditRecord, tree: Tree | undefined): readonly Finding[];
  /** A checkpoint holds: it covers all that was seen so far. */
  signed(): void;
  /** `unsealed`: so many records are missing, and nothing that counts says so. */
  end(): { readonly truncated?: Truncated; readonly unsealed?: number };
}

/** @param missing how many records were before the first one that is there */
export function truncations(missing: () => number): Truncations {
  const starts = new Map<number, { readonly prev: string; readonly root: Buffer }>();
  /** Waits for a checkpoint. */
  let pending: string | undefined;
  let before: string | undefined;

  const see: Truncations["see"] = (record, tree) => {
    const { seq, prev, body } = record;
    if (body.kind !== "event") return [];
    // What a start finds, it signs without having seen it written: that is no word of the gateway that wrote it.
    if (body.event === "audit-key") pending = undefined;
    const start = body.event === "segment-started" ? startOf(record) : undefined;
    if (start && tree && sameTree(start.tree, tree) && starts.size < MAX_STARTS) {
      starts.set(seq, { prev, root: rootOf(tree) });
    }
    if (body.event !== "log-truncated") return [];
    const seal = readSeal(record);
    if (!seal) return [{ kind: "segment", message: "it does not say what was removed" }];
    const { upTo, facts } = seal;
    const next = upTo.seq + 1;
    // What it names went with a later one; or there is nothing to compare with, which is said elsewhere.
    if (!tree || next < missing()) return [];
    const found = starts.get(next);
    if (found?.prev !== upTo.hash || !found.root.equals(rootOf(seal.tree))) {
      return [{ kind: "segment", message: "the records that it says were removed are not those that were before" }];
    }
    pending = facts.before;
    for (const it of starts.keys()) if (it < next) starts.delete(it);
    return [];
  };

  return {
    see,
    signed: () => {
      before = pending ?? before;
      pending = undefined;
    },
    end: () => {
      const records = missing();
      if (records === 0) return {};
      return before === undefined ? { unsealed: records } : { truncated: { records, before } };
    },
  };
}

export function notSealed(what: string): Finding {
  return { kind: "segment", message: `${what} are missing, and no signed record says that they were removed` };
}
