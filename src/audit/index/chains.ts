import { randomBytes } from "node:crypto";
import { type AuditIndex, transaction } from "./open.ts";
import { dropTerms, type Term } from "./terms.ts";

/** In place of a segment's number: the chain is being dropped, and whoever comes upon it goes on with that. */
const DROPPED = -1;
/** Dropped in one transaction. A record has some ten terms. */
const SLICE_RECORDS = 1_000;

/** How far a chain is indexed: `offset` bytes of `segment`. */
export interface Cursor {
  readonly segment: number;
  readonly offset: number;
  /** How many of the chain's files there were up to `segment`. */
  readonly segments: number;
  /** Of the last record; -1 before the first. */
  readonly ordinal: number;
  /** The last record that is indexed; without, there is none. */
  readonly last?: { readonly segment: number; readonly offset: number; readonly length: number; readonly hash: Buffer };
  readonly records: number;
  /** Lines that are not as they were written, and were passed over. */
  readonly damaged: number;
}

export const BEGINNING: Cursor = { segment: 0, offset: 0, segments: 0, ordinal: -1, records: 0, damaged: 0 };

/** Names of the chains that the index knows, with how far each is indexed. */
export function readChains({ database }: AuditIndex): Map<string, Cursor> {
  const rows = database.prepare("SELECT * FROM chains").all();
  return new Map(rows.map((row) => [String(row["name"]), cursorOf(row)]));
}

export function readCursor({ database }: AuditIndex, chain: string): Cursor {
  const row = database.prepare("SELECT * FROM chains WHERE name = ?").get(chain);
  return row ? cursorOf(row) : BEGINNING;
}

export function sameCursor(a: Cursor, b: Cursor): boolean {
  const same = a.segment === b.segment && a.offset === b.offset && a.ordinal === b.ordinal && a.segments === b.segments;
  return same && a.records === b.records && (a.last && b.last ? a.last.hash.equals(b.last.hash) : a.last === b.last);
}

/** The number of a chain; it gets one when it has none. Within a transaction. */
export function chainNumber({ database }: AuditIndex, chain: string): bigint {
  const found = database.prepare("SELECT id FROM chains WHERE name = ?").get(chain)?.["id"];
  if (typeof found === "bigint") return found;
  const { lastInsertRowid } = database
    .prepare("INSERT INTO chains VALUES (NULL, ?, 0, 0, 0, -1, 0, 0, 0, x'', 0, 0)")
    .run(chain);
  return BigInt(lastInsertRowid);
}

/** Within the transaction of the rows that it counts. */
export function writeCursor({ database }: AuditIndex, chain: bigint, cursor: Cursor): void {
  const { segment, offset, segments, ordinal, last, records, damaged } = cursor;
  database
    .prepare(
      `UPDATE chains SET segment = ?, offset = ?, segments = ?, ordinal = ?, last_segment = ?, last_offset = ?, last_length = ?, hash = ?,
       records = ?, damaged = ? WHERE id = ?`,
    )
    .run(
      ...[segment, offset, segments, ordinal, last?.segment ?? 0, last?.offset ?? 0, last?.length ?? 0],
      ...[last?.hash ?? Buffer.alloc(0), records, damaged, chain],
    );
}

/** Whether somebody has begun to drop the chain. */
export function isDropped({ segment }: Cursor): boolean {
  return segment === DROPPED;
}

/**
 * Forgets a chain, unless another process has written of it meanwhile. What words are used is an estimate, and stays. In several transactions: the
 * first puts a mark in the cursor's place, so that nobody goes on from it, and the last takes that away.
 * @param pause between two transactions
 */
export async function dropChain(
  index: AuditIndex,
  chain: string,
  seen: Cursor,
  pause: (tookMs: number) => Promise<void>,
): Promise<void> {
  const mark = isDropped(seen) ? seen : newMark();
  const slice = async (work: (id: bigint) => boolean | undefined, expected = mark): Promise<boolean> => {
    const startedMs = performance.now();
    const hasMore = transaction(index, () => {
      const id = index.database.prepare("SELECT id FROM chains WHERE name = ?").get(chain)?.["id"];
      // Another process may have dropped it, and begun with it anew.
      return typeof id === "bigint" && sameCursor(readCursor(index, chain), expected) ? work(id) : undefined;
    });
    if (hasMore !== undefined) await pause(performance.now() - startedMs);
    return hasMore ?? false;
  };
  if (!isDropped(seen)) await slice((id) => void writeCursor(index, id, mark), seen);
  for (const table of ["terms", "ended"] as const) {
    let from: Term | undefined = [-1n, 0n];
    const work = (id: bigint) => {
      from = from && dropTerms(index, table, { chain: id, from });
      return from !== undefined;
    };
    while (await slice(work));
  }
  while (await slice((id) => dropRecords(index, id)));
}

/** No two are the same: who has looked through a part of the tables must not go on when all of it began anew. */
function newMark(): Cursor {
  return { ...BEGINNING, segment: DROPPED, last: { segment: 0, offset: 0, length: 0, hash: randomBytes(16) } };
}

/** The next records, and at last the chain. @returns whether there are more */
function dropRecords({ database }: AuditIndex, chain: bigint): boolean {
  const some = "SELECT id FROM records WHERE chain = ? ORDER BY ordinal LIMIT ?";
  for (const table of ["text", "ended_text"]) {
    database.prepare(`DELETE FROM ${table} WHERE rowid IN (${some})`).run(chain, SLICE_RECORDS);
  }
  const { changes } = database.prepare(`DELETE FROM records WHERE id IN (${some})`).run(chain, SLICE_RECORDS);
  if (changes >= SLICE_RECORDS) return true;
  for (const [table, column] of [
    ["open_calls", "chain"],
    ["chains", "id"],
  ]) {
    database.prepare(`DELETE FROM ${table} WHERE ${column} = ?`).run(chain);
  }
  return false;
}

function cursorOf(row: { readonly [column: string]: unknown }): Cursor {
  const hash = Buffer.from(row["hash"] as Uint8Array);
  const last = {
    segment: Number(row["last_segment"]),
    offset: Number(row["last_offset"]),
    length: Number(row["last_length"]),
    hash,
  };
  return {
    segment: Number(row["segment"]),
    offset: Number(row["offset"]),
    segments: Number(row["segments"]),
    ordinal: Number(row["ordinal"]),
    ...(hash.length > 0 && { last }),
    records: Number(row["records"]),
    damaged: Number(row["damaged"]),
  };
}
