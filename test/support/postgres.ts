import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, chownSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client, type QueryResultRow } from "pg";
import { createAuthority, type TestAuthority } from "./postgres-tls.ts";

const OWNER = "owner";
const OWNER_PASSWORD = "owner-password";
const DATABASE = "logs";
const PLACES = "/usr/lib/postgresql";

/** A PostgreSQL server of a test's own, on loopback, with TLS; everything of it is gone when it is disposed. */
export interface TestPostgres extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** Where its unix socket is, and where a test may keep files of its own that the server need not read. */
  readonly directory: string;
  readonly authority: TestAuthority;
  /** As the superuser `owner`, over the unix socket. */
  query<Row extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** A connection as the superuser, which is to be disposed. */
  connect(): Promise<Client & AsyncDisposable>;
  /** As when its computer loses power, but for the disk: connections are cut, nothing is written any more. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Of the server process, so that a test can hold it up (SIGSTOP). */
  readonly pid: number;
  /** Shows this certificate from now on. */
  useCertificate(host: string, by?: TestAuthority): Promise<void>;
}

/** The programs of the newest PostgreSQL that is installed; undefined when there is none. */
export function postgresPrograms(): string | undefined {
  const versions = isThere(PLACES) ? readdirSync(PLACES).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(PLACES, version, "bin")).find((bin) => isThere(join(bin, "postgres")));
}

/** @param durable whether it syncs its files: what is measured has to, what is tested need not */
export async function startPostgres({ durable = false } = {}): Promise<TestPostgres> {
  const bin = postgresPrograms();
  if (bin === undefined) throw new Error("PostgreSQL is not installed");
  const authority = await createAuthority();
  const directory = mkdtempSync(join(tmpdir(), "glovebox-postgres-"));
  const account = accountOf(directory);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));

  const write = (name: string, content: string) => {
    const path = join(directory, name);
    writeFileSync(path, content, { mode: 0o600 });
    if (account) chownSync(path, account.uid, account.gid);
    return path;
  };
  const data = join(directory, "data");
  const passwordFile = write("password", OWNER_PASSWORD);
  const initdb = [`--pgdata=${data}`, `--username=${OWNER}`, `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
  execFileSync(join(bin, "initdb"), [...initdb, "--encoding=UTF8", "--locale=C", "--no-sync"], {
    ...account,
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const port = await freePort();
  const show = async (host: string, by: TestAuthority) => {
    const { certificate, key } = await by.server(host);
    write("server.crt", certificate);
    write("server.key", key);
  };
  await show("127.0.0.1", authority);
  write("clients.crt", authority.certificate);
  write(
    "access",
    `local all all scram-sha-256
hostssl all by_certificate 127.0.0.1/32 cert
host all all 127.0.0.1/32 scram-sha-256\n`,
  );
  write(
    "settings",
    `listen_addresses = '127.0.0.1'
port = ${port}
unix_socket_directories = '${directory}'
hba_file = '${join(directory, "access")}'
ssl = on
ssl_cert_file = '${join(directory, "server.crt")}'
ssl_key_file = '${join(directory, "server.key")}'
ssl_ca_file = '${join(directory, "clients.crt")}'
fsync = ${durable ? "on" : "off"}
timezone = 'UTC'\n`,
  );
  const server = new Server(
    join(bin, "postgres"),
    ["-D", data, `--config-file=${join(directory, "settings")}`],
    account,
  );
  stack.use(server);
  await server.start();

  const connect = async (database = DATABASE) => {
    const client = new Client({ host: directory, port, user: OWNER, password: OWNER_PASSWORD, database, ssl: false });
    // A server that is stopped ends it; whoever uses it then is told.
    client.on("error", () => undefined);
    await client.connect();
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
  };
  {
    await using client = await connect("postgres");
    await client.query(`CREATE DATABASE ${DATABASE}`);
  }
  const resources = stack.move();
  return {
    host: "127.0.0.1",
    port,
    database: DATABASE,
    directory,
    authority,
    connect: () => connect(),
    query: async (text, values = []) => {
      await using client = await connect();
      return (await client.query(text, [...values])).rows;
    },
    stop: () => server.stop("SIGQUIT"),
    start: () => server.start(),
    get pid() {
      return server.pid;
    },
    useCertificate: async (host, by = authority) => {
      await show(host, by);
      await server.stop("SIGINT");
      await server.start();
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

class Server implements AsyncDisposable {
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #account: Account | undefined;
  #child: ChildProcess | undefined;
  readonly #onExit = () => this.#child?.kill("SIGQUIT");

  constructor(program: string, args: readonly string[], account: Account | undefined) {
    this.#program = program;
    this.#args = args;
    this.#account = account;
    process.once("exit", this.#onExit);
  }

  get pid(): number {
    const { pid } = this.#child ?? {};
    if (pid === undefined) throw new Error("the server does not run");
    return pid;
  }

  async start(): Promise<void> {
    const child = spawn(this.#program, this.#args, { ...this.#account, cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    const said: string[] = [];
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      if (line.includes("database system is ready to accept connections")) resolve();
    });
    child.once("exit", () => reject(new Error(`PostgreSQL ended:\n${said.join("\n")}`)));
    child.once("error", reject);
    await ready;
  }

  /** SIGQUIT: at once, without writing anything; SIGINT: in order. */
  async stop(signal: "SIGQUIT" | "SIGINT"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    // One that a test holds up would not hear it.
    child.kill("SIGCONT");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGQUIT");
    process.off("exit", this.#onExit);
  }
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to be run by root: the package has made an account for it. */
function accountOf(directory: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (option: string) => Number(execFileSync("id", [option, "postgres"], { encoding: "utf8" }));
  const account = { uid: id("-u"), gid: id("-g") };
  chownSync(directory, account.uid, account.gid);
  return account;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function isThere(path: string): boolean {
  try {
    accessSync(path);
    return statSync(path).isDirectory() || statSync(path).isFile();
  } catch {
    return false;
  }
}
