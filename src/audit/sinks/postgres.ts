import { deadline } from "../../lib/deadline.ts";
import { codeOf } from "../../lib/error.ts";
import { GENESIS_HASH, MAX_LINE_BYTES } from "../line.ts";
import type { Entry } from "../read.ts";
import { connectToStore, type StoreConnection } from "./postgres-connection.ts";
import { dayOf, PartitionDays } from "./postgres-days.ts";
import { failureText } from "./postgres-failure.ts";
import { insertSql, postgresRow } from "./postgres-row.ts";
import { SCHEMA_VERSION } from "./postgres-schema.ts";
import { type PostgresSettings, targetOf } from "./postgres-settings.ts";
import { type Batch, DeliveryFailed, type Sink, type SinkPorts } from "./sink.ts";

const MAX_BATCH = { records: 1_000, bytes: 16 * MAX_LINE_BYTES };
/** A delivery that takes longer, with its connection and all, has failed; ms. The server's own limits are shorter, so that it ends first. */
const DELIVERY_MS = 90_000;
/** SQLSTATE of a statement that the server gave up. */
const TOO_LONG = "57014";
/** Numbers and hashes of a batch's records are the most that is asked for: some 200 KB. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * Limits for one transaction, also behind a pooler that hands each one to another connection. A commit is awaited until it is on the
 * server's disk; where an administrator demands more than that (`remote_apply`), it stays.
 */
const BEGIN = `BEGIN;
SET LOCAL statement_timeout = '60s';
SET LOCAL lock_timeout = '20s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL search_path = pg_catalog;
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')`;

/**
 * A central store in PostgreSQL. Settings are checked by the first delivery, since the server may be away when the gateway starts.
 * A batch is one transaction: its records, and how far their chain has come. Connects when there is something to deliver, and again after an error.
 */
export async function openPostgresSink(settings: PostgresSettings, ports: SinkPorts): Promise<Sink> {
  return new PostgresSink(settings, ports);
}

class PostgresSink implements Sink {
  readonly target: string;
  readonly maxBatch = MAX_BATCH;
  readonly deliveryMs = DELIVERY_MS;
  readonly #settings: PostgresSettings;
  readonly #ports: SinkPorts;
  readonly #days: PartitionDays;
  readonly #closing = new AbortController();
  #connection: StoreConnection | undefined;

  constructor(settings: PostgresSettings, ports: SinkPorts) {
    this.#settings = settings;
    this.#ports = ports;
    this.target = targetOf(settings);
    this.#days = new PartitionDays(settings.schema);
  }

  async deliver(batch: Batch, signal: AbortSignal): Promise<void> {
    const until = deadline(DELIVERY_MS, AbortSignal.any([signal, this.#closing.signal]));
    try {
      const connection = await this.#connected(until);
      await this.#days.ensure(
        connection,
        batch.entries.map(({ record }) => dayOf(record.time)),
        until,
      );
      await this.#append(connection, batch, until);
    } catch (error) {
      // Its transaction is undone by that, and the next attempt has a connection about which nothing is in doubt.
      this.#connection?.[Symbol.dispose]();
      this.#connection = undefined;
      signal.throwIfAborted();
      if (error instanceof DeliveryFailed) throw error;
      throw new DeliveryFailed(failureText(error, this.#settings, this.#ports.hide), {
        isLate: codeOf(error) === TOO_LONG,
        cause: error,
      });
    }
  }

  async #connected(signal: AbortSignal): Promise<StoreConnection> {
    if (this.#connection?.isUsable) return this.#connection;
    this.#connection?.[Symbol.dispose]();
    const connection = await connectToStore(this.#settings, this.#ports, signal, MAX_ANSWER_BYTES);
    this.#connection = connection;
    const { schema } = this.#settings;
    const { rows } = await connection.query<{ version: number }>(
      `SELECT ${schema}.schema_version() AS version`,
      [],
      signal,
    );
    const version = rows[0]?.version;
    if (version !== SCHEMA_VERSION) {
      throw this.#failed(`its schema has version ${version}, and this Glovebox writes version ${SCHEMA_VERSION}`);
    }
    return connection;
  }

  async #append(connection: StoreConnection, { chain, entries }: Batch, signal: AbortSignal): Promise<void> {
    const { schema } = this.#settings;
    const [first] = entries;
    const last = entries.at(-1) ?? first;
    await connection.query(BEGIN, [], signal);
    const position = await this.#position(connection, chain, signal);
    const isNews = (entry: Entry) => position === undefined || entry.record.seq > position.seq;
    const news = entries.filter(isNews);
    const repeated = entries.filter((entry) => !isNews(entry));
    this.#checkJoint(chain, position, news[0]);
    // What was there once and is not any more, since its day was dropped or somebody removed it, is kept again.
    const added = [...(await this.#unknown(connection, chain, repeated, signal)), ...news];
    if (added.length > 0) {
      const { count } = await connection.query(
        insertSql(schema),
        [chain, JSON.stringify(added.map(postgresRow))],
        signal,
      );
      // The position's lock keeps others away; so somebody has written there who does not go by it.
      if (count !== added.length) await this.#unknown(connection, chain, added, signal);
    }
    if (news.length > 0) {
      const set = `UPDATE ${schema}.positions SET seq = $2, hash = $3 WHERE chain = $1`;
      await connection.query(set, [chain, last.record.seq, last.record.hash], signal);
    }
    const { command } = await connection.query("COMMIT", [], signal);
    if (command !== "COMMIT") throw this.#failed("the server did not commit");
  }

  /** Where the chain stands, and from now on to the end of the transaction nobody else moves it; undefined for one that it has nothing of. */
  async #position(connection: StoreConnection, chain: string, signal: AbortSignal) {
    const { schema } = this.#settings;
    const lock = `SELECT seq, hash FROM ${schema}.positions WHERE chain = $1 FOR UPDATE`;
    const known = await connection.query<{ seq: string; hash: string }>(lock, [chain], signal);
    const found = known.rows[0];
    if (found && found.seq !== "-1") return { seq: Number(found.seq), hash: found.hash };
    if (found) return undefined;
    const insert = `INSERT INTO ${schema}.positions (chain, seq, hash) VALUES ($1, -1, $2)`;
    await connection.query(insert, [chain, GENESIS_HASH], signal);
    return undefined;
  }

  /** New records must follow the last one that the store has. */
  #checkJoint(chain: string, position: { seq: number; hash: string } | undefined, next: Entry | undefined): void {
    if (!position || !next) return;
    const { seq, prev } = next.record;
    if (seq !== position.seq + 1) {
      throw this.#failed(
        `it has ${chain} up to record ${position.seq}, and record ${seq} was to be next: those between were lost on one side; ` +
          "`glovebox audit store compare` tells which",
      );
    }
    if (prev !== position.hash) throw this.#fork(chain, position.seq);
  }

  /** Those of the entries that the store does not have. @throws DeliveryFailed when it has another record in the place of one */
  async #unknown(connection: StoreConnection, chain: string, entries: readonly Entry[], signal: AbortSignal) {
    // Where they should be, which is in a day or two; and only what is not there is looked for in all days there are.
    const missing = await this.#without(connection, chain, entries, signal, "AND time BETWEEN $4 AND $5");
    return missing.length === 0 ? missing : await this.#without(connection, chain, missing, signal);
  }

  async #without(
    connection: StoreConnection,
    chain: string,
    entries: readonly Entry[],
    signal: AbortSignal,
    during = "",
  ): Promise<readonly Entry[]> {
    const [first] = entries;
    const last = entries.at(-1);
    if (!first || !last) return [];
    const range = [chain, first.record.seq, last.record.seq];
    const timesMs = entries.map(({ record }) => Date.parse(record.time)).filter((it) => it >= 0);
    if (during !== "") {
      if (timesMs.length === 0) return entries;
      range.push(new Date(Math.min(...timesMs)).toISOString(), new Date(Math.max(...timesMs)).toISOString());
    }
    const select = `SELECT seq, hash FROM ${this.#settings.schema}.records WHERE chain = $1 AND seq BETWEEN $2 AND $3 ${during}`;
    const { rows } = await connection.query<{ seq: string; hash: string }>(select, range, signal);
    const sent = new Map(entries.map(({ record }) => [record.seq, record.hash]));
    for (const { seq, hash } of rows) {
      const own = sent.get(Number(seq));
      if (own !== undefined && own !== hash) throw this.#fork(chain, Number(seq));
    }
    const stored = new Set(rows.map(({ seq }) => Number(seq)));
    return entries.filter(({ record }) => !stored.has(record.seq));
  }

  #fork(chain: string, seq: number): DeliveryFailed {
    return this.#failed(
      `it has another record ${seq} of ${chain} than this log: a log was rewritten, or put back from a copy, or the store was changed; ` +
        "nothing was overwritten, and `glovebox audit store compare` tells where they part",
    );
  }

  #failed(problem: string): DeliveryFailed {
    return new DeliveryFailed(`${this.#settings.name} (PostgreSQL at ${this.target}): ${problem}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(this.#failed("the gateway shuts down"));
    this.#connection?.[Symbol.dispose]();
    this.#connection = undefined;
  }
}
