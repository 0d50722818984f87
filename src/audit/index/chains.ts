import type { AuditIndex } from "./open.ts";
import { transaction } from "./open.ts";

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

/** Forgets a chain, unless another process has written of it meanwhile. What words are used is an estimate, and stays. */
export function dropChain(index: AuditIndex, chain: string, seen: Cursor): void {
  const { database } = index;
  transaction(index, () => {
    const id = database.prepare("SELECT id FROM chains WHERE name = ?").get(chain)?.["id"];
    if (id === undefined || !sameCursor(readCursor(index, chain), seen)) return;
    for (const [table, column] of [
      ["terms", "id"],
      ["ended", "id"],
      ["text", "rowid"],
      ["ended_text", "rowid"],
    ]) {
      database.prepare(`DELETE FROM ${table} WHERE ${column} IN (SELECT id FROM records WHERE chain = ?)`).run(id);
    }
    for (const table of ["open_calls", "records"]) database.prepare(`DELETE FROM ${table} WHERE chain = ?`).run(id);
    database.prepare("DELETE FROM chains WHERE id = ?").run(id);
  });
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
