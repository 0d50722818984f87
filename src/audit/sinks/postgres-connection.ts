import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";
import { Client, type CustomTypesConfig, type QueryResultRow, types } from "pg";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { certificatesIn, identityIn } from "./pem-files.ts";
import { guardClient } from "./postgres-guard.ts";
import { isSocket, type PostgresSettings } from "./postgres-settings.ts";
import type { SinkPorts } from "./sink.ts";

const CONNECT_MS = 15_000;
const KEEP_ALIVE_MS = 30_000;
/**
 * By PostgreSQL's numbers, what the driver's queries have that is not text: boolean, integer, double precision, text[], jsonb. The server says
 * what a value is, and the parser that `pg` has for a time can be kept busy for hours with one.
 */
const PARSED = new Set([16, 23, 701, 1009, 3802]);
const TYPES: CustomTypesConfig = {
  getTypeParser: (oid: number) => (PARSED.has(oid) ? types.getTypeParser(oid, "text") : (value: string) => value),
};

export interface Answer<Row> {
  readonly rows: readonly Row[];
  /** Rows that a statement found or changed. */
  readonly count: number;
  /** What the server says it did: `COMMIT` may be answered with `ROLLBACK`. */
  readonly command: string;
}

/** One connection to the store. Disposing cuts it: whatever was not committed has not happened. */
export interface StoreConnection extends Disposable {
  /** False when the server or the network has ended it. */
  readonly isUsable: boolean;
  /** @throws the server's error, the network's, or the signal's reason, with which the connection is cut */
  query<Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[],
    signal: AbortSignal,
    /** Under which the server keeps the statement, so that it plans it once. */
    name?: string,
  ): Promise<Answer<Row>>;
}

/**
 * Connects, and logs in. Nothing is taken from the environment (`PGHOST`, `.pgpass` and the like): what is not in the settings is not used.
 * @param maxAnswerBytes what the server may answer to one query, and to the login
 * @throws GatewayError CONFIG_INVALID for files that can't be used, SINK_FAILED for a server that breaks the protocol; the server's error, TLS's, the network's, or the signal's reason
 */
export async function connectToStore(
  settings: PostgresSettings,
  ports: SinkPorts,
  signal: AbortSignal,
  maxAnswerBytes: number,
): Promise<StoreConnection> {
  const { host, port, user, database } = settings;
  signal.throwIfAborted();
  const ssl = settings.tls === "local" ? false : await tlsOptions(settings, ports);
  const readPassword = settings.password && ports.secret(settings.name, settings.password);
  const proxied = isSocket(host) ? undefined : await ports.through?.(host, port, signal);
  const stream = proxied ? asSocket(proxied) : new Socket();
  const client = new Client({
    host,
    port,
    user,
    database,
    ssl,
    stream: () => stream,
    // Always given: `pg` would look for one in the environment and in files else.
    password: async () => {
      if (readPassword) return await readPassword(signal);
      throw new GatewayError(
        "CONFIG_INVALID",
        `the server asks for a password, and sink \`${settings.name}\` has none`,
      );
    },
    sslnegotiation: "postgres",
    // Of SCRAM: binds the login to this TLS connection, so that nobody in between can use it, where the server offers that.
    enableChannelBinding: true,
    // `pg` takes PGOPTIONS where none are given. Poolers know no options, so that there are none where there need be none.
    ...(process.env["PGOPTIONS"] === undefined ? {} : { options: " " }),
    application_name: `glovebox ${ports.version}`,
    client_encoding: "UTF8",
    types: TYPES,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
  });
  const guard = guardClient(client, maxAnswerBytes);
  let isUsable = true;
  const cut = () => {
    isUsable = false;
    stream.destroy();
  };
  // Also between queries: the server shuts down, the network is gone, or what came was refused. Whoever uses it next finds out.
  client.on("error", cut);
  client.on("end", cut);
  const whole = async <T>(work: Promise<T>, until: AbortSignal): Promise<T> => {
    try {
      return await abortable(work, until);
    } catch (error) {
      if (until.aborted) cut();
      throw error;
    }
  };
  try {
    await whole(client.connect(), signal);
  } catch (error) {
    cut();
    throw error;
  }
  return {
    get isUsable() {
      return isUsable;
    },
    query: async (text, values, until, name) => {
      // Of several statements there are several answers, which its types don't say.
      const statement = { text, values: [...values], ...(name !== undefined && { name }) };
      guard.expectAnswer();
      const answers = [await whole(client.query(statement), until)].flat();
      const { rows, rowCount, command } = answers.at(-1) ?? { rows: [], rowCount: 0, command: "" };
      return { rows, count: rowCount ?? 0, command };
    },
    [Symbol.dispose]: cut,
  };
}

async function tlsOptions({ ca, clientCertificate }: PostgresSettings, ports: SinkPorts): Promise<ConnectionOptions> {
  const own = ca === undefined ? [] : [await certificatesIn(ca)];
  const identity = clientCertificate && (await identityIn(clientCertificate));
  return {
    ca: [...(await ports.authorities()), ...own],
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    ...identity,
  };
}

/** `pg` connects by itself; what is connected already it gets as a socket that says so when it is told to connect. */
function asSocket(stream: Duplex): Duplex {
  const connected = Object.assign(stream, {
    connect: () => {
      process.nextTick(() => stream.emit("connect"));
      return connected;
    },
    setNoDelay: () => connected,
    setKeepAlive: () => connected,
  });
  return connected;
}
