import { join } from "node:path";
import { bodyText } from "../src/audit/body.ts";
import { GENESIS_HASH, type Position, readLine, sealLine } from "../src/audit/line.ts";
import type { Entry } from "../src/audit/read.ts";
import type { RecordBody } from "../src/audit/record.ts";
import { openPostgresSink } from "../src/audit/sinks/postgres.ts";
import { openStore } from "../src/audit/sinks/postgres-read.ts";
import { COLUMNS } from "../src/audit/sinks/postgres-schema.ts";
import { verifyStore } from "../src/audit/sinks/verify-store.ts";
import { newId } from "../src/lib/id.ts";
import { postgresPrograms, startPostgres } from "../test/support/postgres.ts";
import { makeStore, portsFor, settingsFor } from "../test/support/postgres-store.ts";
import { type Row, row, timed } from "./row.ts";

const RECORDS = 20_000;
const ROUNDS = 3;

/**
 * Records a second that a store in PostgreSQL confirms, indexes and all, beside a bare COPY of the same rows from a file of the server's own
 * into a table that has none; and records a second that are verified from it, beside reading the same lines. Nothing where no server is installed.
 */
export async function benchLoggingPostgres(): Promise<Row[]> {
  if (postgresPrograms() === undefined) return [];
  await using postgres = await startPostgres({ durable: true });
  await makeStore(postgres);
  await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
  await using client = await postgres.connect();
  const columns = Object.keys(COLUMNS).join(", ");
  await client.query(`CREATE TABLE bare AS SELECT ${columns} FROM glovebox.records`);
  const file = join(postgres.directory, "rows");
  const delivered: number[] = [];
  const copied: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const chain = newId("chain");
    const entries = made(chain);
    delivered.push(
      await perSecond(async () => {
        for (let from = 0; from < RECORDS; from += sink.maxBatch.records) {
          const [first, ...others] = entries.slice(from, from + sink.maxBatch.records);
          if (first) await sink.deliver({ chain, entries: [first, ...others] }, AbortSignal.timeout(60_000));
        }
      }),
    );
    await client.query(`COPY (SELECT ${columns} FROM glovebox.records WHERE chain = '${chain}') TO '${file}'`);
    copied.push(await perSecond(() => client.query(`TRUNCATE bare; COPY bare FROM '${file}'`)));
  }
  using store = await openStore(settingsFor(postgres, { user: "analyst" }), portsFor(postgres));
  const all = RECORDS * ROUNDS;
  const verified = (all / (await timed(() => verifyStore(store)))) * 1_000;
  const read = (all / (await timed(() => client.query("SELECT line FROM glovebox.records")))) * 1_000;
  return [
    row("records into PostgreSQL, confirmed", delivered, "records/s", "bare COPY of the same rows", copied),
    row("records verified from PostgreSQL", [verified], "records/s", "SELECT of the same lines", [read]),
  ];
}

async function perSecond(run: () => Promise<unknown>): Promise<number> {
  return (RECORDS / (await timed(run))) * 1_000;
}

/** Half intents, half outcomes, as calls leave them. */
function made(chain: string): Entry[] {
  let position: Position = { seq: -1, hash: GENESIS_HASH };
  return Array.from({ length: RECORDS }, (_, n) => {
    const envelope = { chain, gateway: "gw-bench", time: new Date().toISOString() };
    const sealed = sealLine(envelope, position, bodyText(n % 2 === 0 ? intent() : outcome()));
    position = sealed.position;
    const text = sealed.line.slice(0, -1);
    const read = readLine(Buffer.from(text));
    if (!read.sound) throw new Error(read.message);
    return { record: read.record, text };
  });
}

function intent(): RecordBody {
  return {
    kind: "intent",
    callId: newId("call"),
    principal: { id: "local:bench", client: { name: "bench", version: "1" }, transport: "stdio" },
    tool: "exec",
    arguments: { argv: ["python3", "main.py"], cwd: "/workspace", env: [], background: false },
    sessionId: "ses-0mwplkhc8c2b36263ab4f8dbd",
    decision: "permit",
    policies: [{ id: "sandbox.cedar#run", effect: "permit" }],
    problems: [],
    bundle: { name: "default", version: "1.0.0", digest: `sha256:${"0".repeat(64)}` },
  };
}

function outcome(): RecordBody {
  const facts = { exitCode: 0, endedBy: "exit", stdoutBytes: 812, stderrBytes: 0 };
  return {
    kind: "outcome",
    callId: newId("call"),
    sessionId: "ses-0mwplkhc8c2b36263ab4f8dbd",
    status: "ok",
    durationMs: 41,
    facts,
  };
}
