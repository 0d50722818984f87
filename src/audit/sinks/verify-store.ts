import { continuity } from "../continuity.ts";
import type { Position } from "../line.ts";
import type { Store, StoredChain } from "./postgres-read.ts";
import { differingColumns } from "./postgres-row.ts";
import { type StoreFindings, Tally } from "./store-problem.ts";

/**
 * Checks every record of every chain that a store has, by its line: hash, order, links, and that nothing is missing between where
 * retention stopped dropping and where the store says that it has come; and of each that the columns say what the line says. Memory is bounded,
 * and gateways may be delivering meanwhile.
 * @param onRecord is told of each row that was checked
 * @throws DeliveryFailed when the store can't be read
 */
export async function verifyStore(store: Store, onRecord: () => void = () => undefined): Promise<StoreFindings> {
  const tally = new Tally();
  // Before the records: a gateway that delivers only gets ahead of it.
  for (const chain of await store.chains()) {
    tally.chains += 1;
    await verifyChain(store, chain, tally, onRecord);
  }
  return tally;
}

async function verifyChain(
  store: Store,
  { chain, reached, dropped }: StoredChain,
  tally: Tally,
  onRecord: () => void,
): Promise<void> {
  const check = continuity(chain, dropped);
  let isReachedSeen = reached?.seq === dropped.seq;
  for await (const { line, columns } of store.rows(chain)) {
    onRecord();
    // A clock that was set back leaves some of these in partitions that are kept longer; what is behind them is not there to be checked against.
    if (Number(columns["seq"]) <= dropped.seq) continue;
    const { record, findings } = check.check(line);
    for (const finding of findings) tally.add({ chain, ...finding });
    if (!record) continue;
    tally.records += 1;
    isReachedSeen ||= isSame(record, reached);
    const differing = differingColumns(columns, { record, text: line.toString("utf8") });
    if (differing.length > 0) {
      const message = `what queries go by is not what the record says: ${differing.join(", ")}`;
      tally.add({ chain, seq: record.seq, kind: "column", message });
    }
  }
  if (!reached) return tally.add({ chain, kind: "position", message: "the store does not say how far it has come" });
  const { seq } = check.position;
  if (seq < reached.seq) {
    const message = `the store ends at record ${seq} and had reached ${reached.seq}: its end was removed or damaged`;
    tally.add({ chain, seq: reached.seq, kind: "position", message });
  } else if (!isReachedSeen) {
    const message = `record ${reached.seq} is not the one that the store's position names`;
    tally.add({ chain, seq: reached.seq, kind: "position", message });
  }
}

function isSame(record: Position, other: Position | undefined): boolean {
  return record.seq === other?.seq && record.hash === other.hash;
}
