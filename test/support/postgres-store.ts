import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bodyText } from "../../src/audit/body.ts";
import { GENESIS_HASH, type Position, readLine, sealLine } from "../../src/audit/line.ts";
import type { Entry } from "../../src/audit/read.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { schemaSql } from "../../src/audit/sinks/postgres-schema.ts";
import { type PostgresSettings, postgresSchema } from "../../src/audit/sinks/postgres-settings.ts";
import type { Batch, SinkPorts } from "../../src/audit/sinks/sink.ts";
import { readSecret } from "../../src/egress/secret-source.ts";
import type { TestPostgres } from "./postgres.ts";

export const SCHEMA = schemaSql({ schema: "glovebox", writer: "glovebox_writer", reader: "glovebox_reader" });
const PASSWORD = "correct-horse";

/** Makes the store's tables, a gateway's user `gateway` and a reader's `analyst`. */
export async function makeStore(postgres: TestPostgres): Promise<void> {
  await using client = await postgres.connect();
  await client.query(SCHEMA);
  await client.query(`
    CREATE ROLE gateway LOGIN PASSWORD '${PASSWORD}' IN ROLE glovebox_writer;
    CREATE ROLE analyst LOGIN PASSWORD '${PASSWORD}' IN ROLE glovebox_reader;
    CREATE ROLE stranger LOGIN PASSWORD '${PASSWORD}';
    CREATE ROLE by_certificate LOGIN IN ROLE glovebox_writer`);
}

/** Takes everything out of the store. */
export async function emptyStore(postgres: TestPostgres): Promise<void> {
  await using client = await postgres.connect();
  await client.query("DROP SCHEMA IF EXISTS glovebox CASCADE");
  await client.query(SCHEMA);
}

/** A file with a secret in it, below the server's directory. */
export function secretFile(postgres: TestPostgres, name: string, content: string): string {
  const path = join(postgres.directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  chmodSync(path, 0o600);
  return path;
}

export function settingsFor(postgres: TestPostgres, more: Readonly<Record<string, unknown>> = {}): PostgresSettings {
  const { host, port, database } = postgres;
  const password = { file: secretFile(postgres, "gateway.password", PASSWORD) };
  return postgresSchema.parse({
    type: "postgres",
    name: "central",
    host,
    port,
    database,
    user: "gateway",
    password,
    ...more,
  });
}

export function portsFor(postgres: TestPostgres, more: Partial<SinkPorts> = {}): SinkPorts {
  return {
    version: "0.0.0",
    authorities: async () => [postgres.authority.certificate],
    secret: (name, source) => (signal) => readSecret({ name, source }, signal),
    hide: (text) => text,
    ...more,
  };
}

/** A chain that is written in memory, record by record. */
export class TestChain {
  readonly id: string;
  readonly entries: Entry[] = [];
  #position: Position = { seq: -1, hash: GENESIS_HASH };

  constructor(number: number) {
    this.id = `chain-000000000${number.toString(16).padStart(16, "0")}`;
  }

  /** @param canonical the body as it is written, where the log would write another */
  add(
    body: RecordBody,
    time = new Date(Date.now() - 60_000 + this.entries.length).toISOString(),
    canonical = bodyText(body),
  ): Entry {
    const { line, position } = sealLine({ chain: this.id, gateway: "gw-test", time }, this.#position, canonical);
    this.#position = position;
    const text = line.slice(0, -1);
    const read = readLine(Buffer.from(text));
    if (!read.sound) throw new Error(read.message);
    const entry = { record: read.record, text };
    this.entries.push(entry);
    return entry;
  }

  /** The records from one number to before another. */
  batch(from = 0, to = this.entries.length): Batch {
    const [first, ...others] = this.entries.slice(from, to);
    if (!first) throw new Error("no records");
    return { chain: this.id, entries: [first, ...others] };
  }
}
