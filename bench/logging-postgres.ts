import { statSync } from "node:fs";
import { join } from "node:path";
import { openPostgresSink } from "../src/audit/sinks/postgres.ts";
import { openStore } from "../src/audit/sinks/postgres-read.ts";
import { COLUMNS } from "../src/audit/sinks/postgres-schema.ts";
import { verifyStore } from "../src/audit/sinks/verify-store.ts";
import { GatewayError } from "../src/errors.ts";
import { postgresPrograms, startPostgres } from "../test/support/postgres.ts";
import { makeStore, portsFor, settingsFor } from "../test/support/postgres-store.ts";
import { type Row, row, timed } from "./row.ts";
import { logTo } from "./shipping.ts";

/**
 * Records a second from the log to a store in PostgreSQL, indexes and all, beside a bare COPY of the same rows from a file of the server's own
 * into a table that has none; and records a second that are verified from it, beside reading the same lines. Nothing where no server is installed.
 */
export async function benchLoggingPostgres(say: (message: string) => void): Promise<Row[]> {
  if (postgresPrograms() === undefined) {
    say("logging: PostgreSQL is left out, it is not installed here");
    return [];
  }
  await using postgres = await startPostgres({ durable: true });
  await makeStore(postgres);
  await using client = await postgres.connect();
  const columns = Object.keys(COLUMNS).join(", ");
  await client.query(`CREATE TABLE bare AS SELECT ${columns} FROM glovebox.records`);
  const file = join(postgres.directory, "rows");
  const settings = settingsFor(postgres);
  const shipped = await logTo({
    to: "PostgreSQL",
    open: () => openPostgresSink(settings, portsFor(postgres)),
    bare: async ([batch]) => {
      await client.query(`COPY (SELECT ${columns} FROM glovebox.records WHERE chain = '${batch?.chain}') TO '${file}'`);
      const ms = await timed(() => client.query(`TRUNCATE bare; COPY bare FROM '${file}'`));
      return { ms, bytes: statSync(file).size };
    },
    baseline: "bare COPY",
  });
  using store = await openStore(settingsFor(postgres, { user: "analyst" }), portsFor(postgres));
  const startedMs = performance.now();
  const { records, problemCount } = await verifyStore(store);
  const verified = (records * 1000) / (performance.now() - startedMs);
  if (problemCount > 0) throw new GatewayError("INTERNAL", "what was shipped does not verify");
  const read = (records * 1000) / (await timed(() => client.query("SELECT line FROM glovebox.records")));
  return [
    shipped,
    row("records verified from PostgreSQL", [verified], "records/s", "SELECT of the same lines", [read]),
  ];
}
