import { hash } from "node:crypto";
import type { QueryResultRow } from "pg";
import type { Position } from "../line.ts";
import { connectToStore } from "./postgres-connection.ts";
import { failureText } from "./postgres-failure.ts";
import { AnswerTooLarge } from "./postgres-guard.ts";
import { SELECTED } from "./postgres-row.ts";
import type { PostgresSettings } from "./postgres-settings.ts";
import { DeliveryFailed, type SinkPorts } from "./sink.ts";

/** Rows that are asked for at a time: a few hundred KiB. */
const PAGE = 500;
const SHORT_PAGE = 10_000;
/** Each removal's record has what the one before it had of the changes of keys. */
const REMOVALS = 10;
/** How much is held at a time. Rows of which a page is larger are asked for in smaller ones: a single one has 16 MiB at most. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** How long one page may take to come. */
const PAGE_MS = 300_000;

/** How far the store says that it has a chain. */
export interface StoredChain {
  readonly chain: string;
  readonly reached: Position;
  /** Up to where retention has dropped records. */
  readonly dropped: Position;
}

/** A record as it is stored. `columns` are those that queries go by. */
export interface StoredRow {
  readonly chain: string;
  readonly line: Buffer;
  readonly columns: { readonly [column: string]: unknown };
}

/** A central store, for reading. All that it does throws DeliveryFailed when the store can't be read. */
export interface Store extends Disposable {
  /** How far each chain has come, by its name. */
  chains(): Promise<readonly StoredChain[]>;
  /** All records of all chains, chain by chain, in order of `seq`; two of one number by time. Needs the reader's role, as do lines. */
  rows(): AsyncGenerator<StoredRow>;
  /** The lines of one chain in that order, without newlines. */
  lines(chain: string): AsyncGenerator<Buffer>;
  /** The latest lines of a chain that say what was removed from its beginning, newest first: a few. */
  removals(chain: string): Promise<readonly Buffer[]>;
  /** Number and hash of each record of a chain, in that order. The writer's role is enough. */
  hashes(chain: string): AsyncGenerator<Position>;
}

/** Where a page ended. */
interface Mark {
  readonly chain: string;
  readonly seq: string;
  /** Its time, as the server prints it. */
  readonly at: string;
}

interface ChainRow {
  readonly chain: string;
  readonly seq: string;
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
      throw new DeliveryFailed(failureText(cause, settings, ports.hide), { cause });
    }
  };
  const connected = async () => {
    const made = await connectToStore(settings, ports, AbortSignal.timeout(PAGE_MS), MAX_ANSWER_BYTES);
    // Each day is a partition: a plan for a year of them takes longer than its execution, so that one is made for all pages.
    try {
      await made.query("SET plan_cache_mode = force_generic_plan", [], AbortSignal.timeout(PAGE_MS));
    } catch (error) {
      made[Symbol.dispose]();
      throw error;
    }
    return made;
  };
  let connection = await guarded(connected());
  const ask = <Row extends QueryResultRow>(text: string, values: readonly unknown[], name?: string) =>
    guarded(connection.query<Row>(text, values, AbortSignal.timeout(PAGE_MS), name));

  /** By where the last page ended rather than by a cursor: a transaction of hours would keep the server from cleaning up. */
  async function* pages<Row extends Mark>(columns: string, chain: string | undefined, rows: number) {
    const among = chain === undefined ? "" : "AND chain = $4";
    let after: Mark = { chain: chain ?? "", seq: "-1", at: "infinity" };
    let limit = rows;
    for (;;) {
      const text = `SELECT ${columns}, chain, seq, time::text AS at FROM ${schema}.records
        WHERE (chain, seq, time) > ($1, $2, $3::timestamptz) ${among} ORDER BY chain, seq, time LIMIT ${limit}`;
      const values = [after.chain, after.seq, after.at, ...(chain === undefined ? [] : [chain])];
      const found = await ask<Row>(text, values, hash("sha1", text)).catch(async (error: unknown) => {
        const isTooLarge = error instanceof DeliveryFailed && error.cause instanceof AnswerTooLarge;
        if (!isTooLarge || limit === 1) throw error;
        connection = await guarded(connected());
        return undefined;
      });
      if (!found) {
        limit = Math.ceil(limit / 8);
        continue;
      }
      yield* found.rows;
      const last = found.rows.at(-1);
      if (!last || found.rows.length < limit) return;
      after = last;
      limit = Math.min(rows, 2 * limit);
    }
  }
  return {
    chains: async () => {
      const text = `SELECT chain, seq, hash, dropped_seq, dropped_hash FROM ${schema}.positions
        WHERE chain > $1 ORDER BY chain LIMIT ${SHORT_PAGE}`;
      const chains: StoredChain[] = [];
      for (;;) {
        const { rows } = await ask<ChainRow>(text, [chains.at(-1)?.chain ?? ""]);
        for (const { chain, seq, hash, dropped_seq, dropped_hash } of rows) {
          const dropped = { seq: Number(dropped_seq), hash: dropped_hash };
          chains.push({ chain, reached: { seq: Number(seq), hash }, dropped });
        }
        if (rows.length < SHORT_PAGE) return chains;
      }
    },
    rows: async function* () {
      for await (const { at: _, chain, ...columns } of pages<Mark & { line: string }>(SELECTED, undefined, PAGE)) {
        yield { chain, line: Buffer.from(columns.line), columns };
      }
    },
    lines: async function* (chain) {
      for await (const { line } of pages<Mark & { line: string }>("line", chain, PAGE)) yield Buffer.from(line);
    },
    removals: async (chain) => {
      const text = `SELECT line FROM ${schema}.records WHERE chain = $1 AND event = 'log-truncated' ORDER BY seq DESC LIMIT ${REMOVALS}`;
      return (await ask<{ line: string }>(text, [chain])).rows.map(({ line }) => Buffer.from(line));
    },
    hashes: async function* (chain) {
      for await (const row of pages<Mark & { hash: string }>("hash", chain, SHORT_PAGE)) {
        yield { seq: Number(row.seq), hash: row.hash };
      }
    },
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}
