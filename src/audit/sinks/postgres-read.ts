import { GENESIS_HASH, type Position } from "../line.ts";
import { connectToStore, type StoreConnection } from "./postgres-connection.ts";
import { failureText } from "./postgres-failure.ts";
import { SELECTED } from "./postgres-row.ts";
import type { PostgresSettings } from "./postgres-settings.ts";
import { DeliveryFailed, type SinkPorts } from "./sink.ts";

/** Rows that are held at a time: a few hundred KiB, and at worst 50 MiB. */
const PAGE = 200;
const HASHES_PAGE = 10_000;
/** How long one page may take to come. */
const PAGE_MS = 300_000;

/** How far the store says that it has a chain. */
export interface StoredChain {
  readonly chain: string;
  /** Undefined when it has records and does not say. */
  readonly reached: Position | undefined;
  /** Up to where retention has dropped records. */
  readonly dropped: Position;
}

/** A record as it is stored. `columns` are those that queries go by. */
export interface StoredRow {
  readonly line: Buffer;
  readonly columns: { readonly [column: string]: unknown };
}

/** A central store, for reading. */
export interface Store extends Disposable {
  /** In order. A chain that has nothing but records, and no position, is among them. @throws DeliveryFailed, as all of these do */
  chains(): Promise<readonly StoredChain[]>;
  /** The records of a chain in order of `seq`; two of one number by time. Needs the reader's role. */
  rows(chain: string): AsyncGenerator<StoredRow>;
  /** Their lines, without newlines. */
  lines(chain: string): AsyncGenerator<Buffer>;
  /** Number and hash of each, in that order. The writer's role is enough. */
  hashes(chain: string): AsyncGenerator<Position>;
}

interface ChainRow {
  readonly chain: string;
  readonly seq: string | null;
  readonly hash: string;
  readonly dropped_seq: string;
  readonly dropped_hash: string;
}

/** @throws DeliveryFailed when it can't be reached */
export async function openStore(settings: PostgresSettings, ports: SinkPorts): Promise<Store> {
  const { schema } = settings;
  const guarded = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (cause) {
      throw new DeliveryFailed(failureText(cause, settings), { cause });
    }
  };
  const connection = await guarded(connectToStore(settings, ports, AbortSignal.timeout(PAGE_MS)));
  const ask: StoreConnection["query"] = (text, values) =>
    guarded(connection.query(text, values, AbortSignal.timeout(PAGE_MS)));
  const page = async <Row extends { seq: string; at: string }>(
    columns: string,
    chain: string,
    rows: number,
    after: Row | undefined,
  ) => {
    const text = `SELECT ${columns}, time::text AS at FROM ${schema}.records
      WHERE chain = $1 AND (seq, time) > ($2, $3::timestamptz) ORDER BY seq, time LIMIT ${rows}`;
    const values = [chain, after?.seq ?? -1, after?.at ?? "infinity"];
    return (await ask<Row>(text, values, AbortSignal.timeout(PAGE_MS))).rows;
  };
  async function* pages<Row extends { seq: string; at: string }>(columns: string, chain: string, rows: number) {
    let after: Row | undefined;
    for (;;) {
      const found: readonly Row[] = await page<Row>(columns, chain, rows, after);
      yield* found;
      if (found.length < rows) return;
      after = found.at(-1);
    }
  }
  async function* rows(chain: string): AsyncGenerator<StoredRow> {
    type Row = { seq: string; at: string; line: string };
    for await (const { at: _, ...columns } of pages<Row>(SELECTED, chain, PAGE)) {
      yield { line: Buffer.from(columns.line), columns };
    }
  }
  return {
    chains: async () => {
      // From one chain to the next by the index: records are not counted, there may be any number.
      const text = `WITH RECURSIVE found AS (
          (SELECT chain FROM ${schema}.records ORDER BY chain LIMIT 1)
          UNION ALL
          SELECT (SELECT r.chain FROM ${schema}.records r WHERE r.chain > f.chain ORDER BY r.chain LIMIT 1) FROM found f WHERE f.chain IS NOT NULL
        )
        SELECT chain, p.seq, p.hash, coalesce(p.dropped_seq, -1) AS dropped_seq, coalesce(p.dropped_hash, '${GENESIS_HASH}') AS dropped_hash
        FROM (SELECT chain FROM found WHERE chain IS NOT NULL UNION SELECT chain FROM ${schema}.positions) c LEFT JOIN ${schema}.positions p USING (chain)
        ORDER BY chain COLLATE "C"`;
      const found = await ask<ChainRow>(text, [], AbortSignal.timeout(PAGE_MS));
      return found.rows.map(({ chain, seq, hash, dropped_seq, dropped_hash }) => ({
        chain,
        reached: seq === null ? undefined : { seq: Number(seq), hash },
        dropped: { seq: Number(dropped_seq), hash: dropped_hash },
      }));
    },
    rows,
    lines: async function* (chain) {
      for await (const { line } of rows(chain)) yield line;
    },
    hashes: async function* (chain) {
      type Row = { seq: string; at: string; hash: string };
      for await (const { seq, hash } of pages<Row>("seq, hash", chain, HASHES_PAGE)) yield { seq: Number(seq), hash };
    },
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}
