import { type Continuity, continuity } from "../continuity.ts";
import { GENESIS_HASH, type Position, readLine } from "../line.ts";
import { type ChainProof, chainProof, type ProofOptions } from "../proof/chain-proof.ts";
import type { SavedCheckpoint } from "../proof/saved.ts";
import type { Truncated } from "../proof/truncations.ts";
import { startOf } from "../truncate/beginning.ts";
import { readSeal, type SealFacts } from "../truncate/seal.ts";
import type { Proven } from "../verification.ts";
import type { Store, StoredChain, StoredRow } from "./postgres-read.ts";
import { differingColumns } from "./postgres-row.ts";
import { type StoreFindings, Tally } from "./store-problem.ts";

export interface StoreVerification extends StoreFindings, Proven {
  /** Records that retention has dropped, as the store says. */
  readonly dropped: number;
}

export interface VerifyStoreOptions extends ProofOptions {
  /** Is told of each row that was checked. */
  readonly onRecord?: () => void;
}

/**
 * Checks every record of every chain that a store has, by its line: hash, order, links, and that nothing is missing between where
 * retention stopped dropping and where the store says that it has come; and of each that the columns say what the line says. One pass, in
 * bounded memory; gateways may be delivering meanwhile. What gateways signed is compared as `verifyLog` does; where retention has dropped a chain's
 * beginning, from the first record on that says what was before it.
 * @throws DeliveryFailed when the store can't be read
 */
export async function verifyStore(store: Store, options: VerifyStoreOptions = {}): Promise<StoreVerification> {
  const { onRecord = () => undefined } = options;
  const tally = new StoreTally(options);
  // Before the records: a gateway that delivers only gets ahead of them.
  const known = new Map((await store.chains()).map((it) => [it.chain, it]));
  const begun = new Set<string>();
  let current: ChainCheck | undefined;
  for await (const row of store.rows()) {
    onRecord();
    if (current?.chain !== row.chain) {
      current?.end();
      begun.add(row.chain);
      const rotations = options.keys ? await rotationsOf(store, row.chain) : [];
      current = new ChainCheck(row.chain, known.get(row.chain), tally, rotations);
    }
    current.check(row);
  }
  current?.end();
  for (const [chain, stored] of known) {
    if (!begun.has(chain)) new ChainCheck(chain, stored, tally).end();
  }
  for (const [chain, saved] of tally.saved) {
    if (begun.has(chain) || known.has(chain)) continue;
    const message = `the store has nothing of it, and a checkpoint of ${newestOf(saved)} records was kept: it was removed, or never shipped`;
    tally.add({ chain, kind: "missing", message });
  }
  const late = new Map((await store.chains()).map((it) => [it.chain, it]));
  for (const chain of begun) {
    if (late.has(chain)) continue;
    tally.add({ chain, kind: "position", message: "the store does not say how far it has come" });
  }
  return tally;
}

/** Changes of keys that are on record in what was removed. Each is signed by both keys: whoever wrote the row, it is believed as such. */
async function rotationsOf(store: Store, chain: string): Promise<SealFacts["rotations"]> {
  for (const line of await store.removals(chain)) {
    const read = readLine(line);
    const seal = read.sound && read.record.chain === chain ? readSeal(read.record) : undefined;
    if (seal) return seal.facts.rotations;
  }
  return [];
}

class StoreTally extends Tally implements StoreVerification {
  dropped = 0;
  checkpoints = 0;
  unproven = 0;
  readonly signatures: "checked" | "not-checked";
  readonly gateways: Record<string, string> = {};
  readonly truncated: Record<string, Truncated> = {};
  incomparable = 0;
  readonly #options: ProofOptions;
  readonly #saved: ReadonlyMap<string, readonly SavedCheckpoint[]>;

  constructor(options: ProofOptions) {
    super();
    this.#options = options;
    this.#saved = Map.groupBy(options.saved ?? [], (it) => it.chain);
    this.signatures = options.keys ? "checked" : "not-checked";
  }

  /** By chain, what was kept apart from the store. */
  get saved(): ReadonlyMap<string, readonly SavedCheckpoint[]> {
    return this.#saved;
  }

  proofOf(chain: string, isWhole: boolean, rotations: SealFacts["rotations"]): ChainProof {
    return chainProof(chain, isWhole, { ...this.#options, saved: this.#saved.get(chain) ?? [], rotations });
  }
}

/** One chain of the store, from its first record to its last. */
class ChainCheck {
  readonly chain: string;
  readonly #tally: StoreTally;
  readonly #reached: Position;
  readonly #dropped: Position;
  #continuity: Continuity;
  readonly #proof: ChainProof;
  #isReachedSeen: boolean;
  /** Rows that are there although the store says that they were dropped. */
  #leftBehind = 0;

  constructor(
    chain: string,
    stored: StoredChain | undefined,
    tally: StoreTally,
    rotations: SealFacts["rotations"] = [],
  ) {
    const none = { seq: -1, hash: GENESIS_HASH };
    this.chain = chain;
    this.#tally = tally;
    this.#reached = stored?.reached ?? none;
    this.#dropped = stored?.dropped ?? none;
    this.#continuity = continuity(chain, this.#dropped);
    this.#proof = tally.proofOf(chain, this.#dropped.seq === -1, rotations);
    this.#isReachedSeen = this.#reached.seq === this.#dropped.seq;
    tally.chains += 1;
    tally.dropped += this.#dropped.seq + 1;
  }

  check({ line, columns }: StoredRow): void {
    const { chain } = this;
    // A clock that was set back leaves some of these in days that are kept: what they continued is dropped.
    if (Number(columns["seq"]) <= this.#dropped.seq) {
      this.#leftBehind += 1;
      return;
    }
    this.#begin(line);
    const { record, findings } = this.#continuity.check(readLine(line));
    for (const finding of [...findings, ...this.#proof.see(line, record)]) this.#tally.add({ chain, ...finding });
    if (!record) return;
    this.#tally.records += 1;
    this.#isReachedSeen ||= record.seq === this.#reached.seq && record.hash === this.#reached.hash;
    const differing = differingColumns(columns, { record, text: line.toString("utf8") });
    if (differing.length === 0) return;
    const message = `what queries go by is not what the record says: ${differing.join(", ")}`;
    this.#tally.add({ chain, seq: record.seq, kind: "column", message });
  }

  /** A store that was set up late has chains whose beginning the log had removed by then. */
  #begin(line: Buffer): void {
    if (this.#dropped.seq !== -1 || this.#continuity.position.seq !== -1) return;
    const read = readLine(line);
    const start = read.sound && read.record.chain === this.chain ? startOf(read.record) : undefined;
    if (start) this.#continuity = continuity(this.chain, start.before);
  }

  end(): void {
    const { chain } = this;
    const { seq } = this.#continuity.position;
    const reached = this.#reached.seq;
    if (seq < reached) {
      const message = `the store ends at record ${seq} and had reached ${reached}: its end was removed or damaged`;
      this.#tally.add({ chain, seq: reached, kind: "position", message });
    } else if (!this.#isReachedSeen) {
      const message = `record ${reached} is not the one that the store's position names`;
      this.#tally.add({ chain, seq: reached, kind: "position", message });
    }
    this.#endProof();
  }

  #endProof(): void {
    const { chain } = this;
    const tally = this.#tally;
    const { checkpoints, unproven, gateway, findings, unsealed, truncated, incomparable } = this.#proof.end();
    tally.incomparable += incomparable;
    if (truncated) tally.truncated[chain] = truncated;
    tally.checkpoints += checkpoints;
    tally.unproven += unproven + this.#leftBehind;
    if (this.#leftBehind > 0 && tally.signatures === "checked") {
      const message = `${this.#leftBehind} of its records stand before the last that retention is said to have dropped: nothing of them can be checked`;
      tally.add({ chain, kind: "unsigned", message });
    }
    if (gateway !== undefined) tally.gateways[chain] = gateway;
    const size = this.#continuity.position.seq + 1;
    const newest = newestOf(tally.saved.get(chain) ?? []);
    for (const finding of findings) {
      // That of an end that is missing is said below.
      if (finding.kind !== "missing" || newest <= size) tally.add({ chain, ...finding });
    }
    if (unsealed !== undefined) {
      const message = `its first ${unsealed} records are missing, and no signed record says that they were removed`;
      tally.add({ chain, seq: unsealed - 1, kind: "segment", message });
    }
    if (newest <= size) return;
    const message = `the store has ${size} records of it, and the checkpoint that was kept has ${newest}: its end was removed, or is not shipped yet`;
    tally.add({ chain, kind: "missing", message });
  }
}

function newestOf(saved: readonly SavedCheckpoint[]): number {
  return saved.reduce((most, it) => Math.max(most, it.size), 0);
}
