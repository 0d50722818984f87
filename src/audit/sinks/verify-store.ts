import { type Continuity, continuity } from "../continuity.ts";
import { GENESIS_HASH, type Position, readLine } from "../line.ts";
import { startOf } from "../truncate/beginning.ts";
import { readSeal } from "../truncate/seal.ts";
import type { Store, StoredChain, StoredRow } from "./postgres-read.ts";
import { differingColumns } from "./postgres-row.ts";
import { type StoreFindings, Tally } from "./store-problem.ts";

/**
 * Checks every record of every chain that a store has, by its line: hash, order, links, and that nothing is missing between where
 * retention stopped dropping and where the store says that it has come; and of each that the columns say what the line says. One pass, in
 * bounded memory; gateways may be delivering meanwhile.
 * @param onRecord is told of each row that was checked
 * @throws DeliveryFailed when the store can't be read
 */
export async function verifyStore(store: Store, onRecord: () => void = () => undefined): Promise<StoreFindings> {
  const tally = new Tally();
  // Before the records: a gateway that delivers only gets ahead of them.
  const known = new Map((await store.chains()).map((it) => [it.chain, it]));
  const begun = new Set<string>();
  let current: ChainCheck | undefined;
  for await (const row of store.rows()) {
    onRecord();
    if (current?.chain !== row.chain) {
      current?.end();
      begun.add(row.chain);
      current = new ChainCheck(row.chain, known.get(row.chain), tally);
    }
    current.check(row);
  }
  current?.end();
  for (const [chain, stored] of known) {
    if (!begun.has(chain)) new ChainCheck(chain, stored, tally).end();
  }
  const late = new Map((await store.chains()).map((it) => [it.chain, it]));
  for (const chain of begun) {
    if (late.has(chain)) continue;
    tally.add({ chain, kind: "position", message: "the store does not say how far it has come" });
  }
  return tally;
}

/** One chain of the store, from its first record to its last. */
class ChainCheck {
  readonly chain: string;
  readonly #tally: Tally;
  readonly #reached: Position;
  readonly #dropped: Position;
  #continuity: Continuity;
  #isReachedSeen: boolean;
  /** The last record that a log had removed before anything of the chain was shipped, until a record says so. */
  #unsealed: Position | undefined;

  constructor(chain: string, stored: StoredChain | undefined, tally: Tally) {
    const none = { seq: -1, hash: GENESIS_HASH };
    this.chain = chain;
    this.#tally = tally;
    this.#reached = stored?.reached ?? none;
    this.#dropped = stored?.dropped ?? none;
    this.#continuity = continuity(chain, this.#dropped);
    this.#isReachedSeen = this.#reached.seq === this.#dropped.seq;
    tally.chains += 1;
  }

  check({ line, columns }: StoredRow): void {
    const { chain } = this;
    // A clock that was set back leaves some of these in days that are kept: what they continued is dropped.
    if (Number(columns["seq"]) <= this.#dropped.seq) return;
    this.#begin(line);
    const { record, findings } = this.#continuity.check(line);
    for (const finding of findings) this.#tally.add({ chain, ...finding });
    if (!record) return;
    this.#tally.records += 1;
    const seal = readSeal(record);
    if (seal && this.#unsealed && isAt(seal.upTo, this.#unsealed)) this.#unsealed = undefined;
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
    if (!start) return;
    this.#unsealed = start.before;
    this.#continuity = continuity(this.chain, start.before);
  }

  end(): void {
    const { chain } = this;
    if (this.#unsealed) {
      const message = `records up to ${this.#unsealed.seq} are missing, and no record says that they were removed`;
      this.#tally.add({ chain, seq: this.#unsealed.seq, kind: "segment", message });
    }
    const { seq } = this.#continuity.position;
    const reached = this.#reached.seq;
    if (seq < reached) {
      const message = `the store ends at record ${seq} and had reached ${reached}: its end was removed or damaged`;
      this.#tally.add({ chain, seq: reached, kind: "position", message });
    } else if (!this.#isReachedSeen) {
      const message = `record ${reached} is not the one that the store's position names`;
      this.#tally.add({ chain, seq: reached, kind: "position", message });
    }
  }
}

/** Whether what was removed reached so far: exactly, or, while it was being removed, further. */
function isAt(removed: Position, missing: Position): boolean {
  return removed.seq > missing.seq || (removed.seq === missing.seq && removed.hash === missing.hash);
}
