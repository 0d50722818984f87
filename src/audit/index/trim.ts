import { isDropped, readChains } from "./chains.ts";
import { type AuditIndex, transaction } from "./open.ts";
import { dropTerms, type Term } from "./terms.ts";

/** Removed in one transaction. A record has some ten terms. */
const SLICE_RECORDS = 1_000;

/**
 * Forgets a chain's records of segments before `first`, which were removed for their age, so that the index is what it would be if it were made anew. In
 * several transactions: whoever is killed in between leaves what the next one goes on with, as how many files there are is written last. Records are
 * only added at the chain's end meanwhile, and their places don't change.
 * @param pause between two transactions
 */
export async function trimChain(
  index: AuditIndex,
  chain: string,
  first: number,
  pause: (tookMs: number) => Promise<void>,
): Promise<void> {
  const slice = async <T>(work: (id: bigint) => T): Promise<T | undefined> => {
    const startedMs = performance.now();
    const result = transaction(index, () => {
      const id = index.database.prepare("SELECT id FROM chains WHERE name = ?").get(chain)?.["id"];
      const cursor = readChains(index).get(chain);
      // Another process may have dropped it, and begun with it anew.
      return typeof id === "bigint" && cursor && !isDropped(cursor) ? work(id) : undefined;
    });
    await pause(performance.now() - startedMs);
    return result;
  };
  for (const table of ["terms", "ended"] as const) {
    let from: Term | undefined = [-1n, 0n];
    while (from) {
      const at: Term = from;
      from = await slice((id) => dropTerms(index, table, { chain: id, before: first, from: at }));
    }
  }
  while (await slice((id) => trimRecords(index, id, first)));
  await slice((id) => count(index, id, first));
}

/** The oldest records. @returns whether there are more */
function trimRecords({ database }: AuditIndex, chain: bigint, first: number): boolean {
  // In a chain's order, which is that of its segments.
  const some = `SELECT id FROM (SELECT id, segment FROM records WHERE chain = ? ORDER BY ordinal LIMIT ${SLICE_RECORDS}) WHERE segment < ?`;
  for (const table of ["text", "ended_text"]) {
    database.prepare(`DELETE FROM ${table} WHERE rowid IN (${some})`).run(chain, first);
  }
  database.prepare(`DELETE FROM open_calls WHERE chain = ? AND id IN (${some})`).run(chain, chain, first);
  const { changes } = database.prepare(`DELETE FROM records WHERE id IN (${some})`).run(chain, first);
  database.prepare("UPDATE chains SET records = records - ? WHERE id = ?").run(changes, chain);
  return Number(changes) >= SLICE_RECORDS;
}

function count({ database }: AuditIndex, chain: bigint, first: number): void {
  database
    .prepare("UPDATE chains SET segments = segment - ? + 1 WHERE id = ? AND segment >= ?")
    .run(first, chain, first);
}
