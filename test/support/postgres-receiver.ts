import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { TestPostgres } from "./postgres.ts";
import { emptyStore, settingsFor } from "./postgres-store.ts";

/**
 * An empty store for the suite that every sink passes, on a server that goes on to be used. Connections go through a relay without TLS, on
 * loopback, so that the answer to a commit can be kept from who waits for it.
 */
export async function postgresReceiver(postgres: TestPostgres) {
  await emptyStore(postgres);
  const open = new Set<Socket>();
  let dropsNext = false;
  const relay = createServer((client) => {
    const server = connect(postgres.port, postgres.host);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => {
        open.delete(socket);
        other.destroy();
      });
    }
    client.pipe(server);
    server.on("data", (data: Buffer) => {
      if (dropsNext && data.includes("COMMIT\0")) {
        dropsNext = false;
        client.destroy();
      } else client.write(data);
    });
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const { port } = relay.address() as AddressInfo;
  const { name, type, host, database, user, password } = settingsFor(postgres);
  return {
    settings: { name, type, host, port, database, user, password, tls: "local" },
    authorities: [],
    received: async () => {
      const rows = await postgres.query<{ id: string; hash: string }>(
        "SELECT chain || '/' || seq AS id, hash FROM glovebox.records ORDER BY received, chain, seq",
      );
      if (new Set(rows.map((it) => it.id)).size < rows.length) throw new Error("a record is there twice");
      return rows;
    },
    stop: () => postgres.stop(),
    start: () => postgres.start(),
    /** The server sleeps before it moves a chain's position, and so before it commits. */
    slow: async (delayMs: number) => {
      await postgres.query(`CREATE OR REPLACE FUNCTION glovebox.sleep() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_sleep(${delayMs / 1_000}); RETURN NULL; END $$;
        CREATE OR REPLACE TRIGGER sleeps AFTER UPDATE ON glovebox.positions FOR EACH STATEMENT EXECUTE FUNCTION glovebox.sleep()`);
    },
    dropNext: () => {
      dropsNext = true;
    },
    [Symbol.asyncDispose]: async () => {
      relay.close();
      for (const socket of open) socket.destroy();
      await once(relay, "close");
    },
  };
}
