import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { PACKAGE_ROOT } from "../src/config.ts";
import { createSessionAuthority, type SessionAuthority } from "../src/egress/session-authority.ts";
import { benchConfig, openStand, type Stand, withPolicy } from "./gateway.ts";
import { type Row, row } from "./row.ts";

const REQUESTS = 60;
const MEGABYTES = 32;
const IDLE = 200;
const MIB = 2 ** 20;

/** Run by Node, in the sandbox and beside the server: milliseconds of small requests on one connection, of new connections, and MB/s. */
const CLIENT = `
const https = require("https"), [host, port, count] = process.argv.slice(1);
const get = (path, agent) => new Promise((resolve, reject) => https.get({ host, port, path, agent, servername: "api.test" }, (answer) => {
  let bytes = 0;
  answer.on("data", (chunk) => { bytes += chunk.length; });
  answer.on("end", () => resolve(bytes));
}).on("error", reject));
const timed = async (act) => { const began = performance.now(); await act(); return performance.now() - began; };
(async () => {
  const kept = new https.Agent({ keepAlive: true, maxSockets: 1 });
  for (let n = 0; n < 5; n++) await get("/small", kept);
  const requests = [], connections = [];
  for (let n = 0; n < count; n++) requests.push(await timed(() => get("/small", kept)));
  for (let n = 0; n < count / 4; n++) connections.push(await timed(() => get("/small", new https.Agent())));
  const ms = await timed(() => get("/large", kept));
  console.log(JSON.stringify({ requests, connections, rates: [${MEGABYTES} / (ms / 1000)] }));
  process.exit(0);
})();`;

/** Holds connections open until it is killed. */
const HOLD = `
import socket, ssl, sys, time
context = ssl.create_default_context()
connect = lambda: socket.create_connection(("api.test", int(sys.argv[1])), timeout=60)
held = [context.wrap_socket(connect(), server_hostname="api.test") for _ in range(${IDLE})]
print("held", flush=True)
time.sleep(600)`;

interface Figures {
  readonly requests: number[];
  readonly connections: number[];
  readonly rates: number[];
}

/** What a program in the sandbox pays for the way out, beside the same program next to the server. */
export async function benchEgress(say: (message: string) => void): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-"));
  try {
    say("the way out of the sandbox");
    const authority = await createSessionAuthority();
    const trustedCa = join(root, "authority.pem");
    writeFileSync(trustedCa, authority.certificate);
    await using server = await openServer(authority);
    const { port } = server;
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: trustedCa };
    const command = ["-e", CLIENT, "127.0.0.1", String(port), String(REQUESTS)];
    const beside = figures((await promisify(execFile)(process.execPath, command, { env })).stdout);
    const rows: Row[] = [];
    for (const [name, methods] of [
      ["spliced", ""],
      ["read", ", methods: [GET]"],
    ] as const) {
      const grant = `{host: api.test, ports: [${port}]${methods}}`;
      await using stand = await standWith(join(root, name), grant, trustedCa);
      const argv = ["node", "-e", CLIENT, "api.test", String(port), String(REQUESTS)];
      const inside = figures(stdoutOf(await stand.call("exec", { argv })));
      const baseline = "the same program beside the server";
      rows.push(
        row(`a request on a connection, TLS ${name}`, inside.requests, "ms", baseline, beside.requests),
        row(`a new connection and a request, TLS ${name}`, inside.connections, "ms", baseline, beside.connections),
        row(`a download of ${MEGABYTES} MB, TLS ${name}`, inside.rates, "MB/s", baseline, beside.rates),
      );
      if (name === "spliced") rows.push(await idleConnections(stand, port));
    }
    return rows;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Connections on which TLS is set up and nothing is said. The server is in the same process, and its part is in the figure. */
async function idleConnections(stand: Stand, port: number): Promise<Row> {
  const before = process.memoryUsage().rss / MIB;
  const argv = ["python3", "-c", HOLD, String(port)];
  await stand.call("exec", { argv, background: true, yieldMs: 90_000 });
  const after = process.memoryUsage().rss / MIB;
  return row(`${IDLE} idle connections`, [after - before], "MiB", "the gateway without them", [before]);
}

async function standWith(root: string, grant: string, trustedCa: string): Promise<Stand> {
  const config = await benchConfig(join(root, "gateway"), 0);
  const policyDirectory = join(root, "policy");
  cpSync(join(PACKAGE_ROOT, "policies", "default"), policyDirectory, { recursive: true });
  const egress = `egress: {hosts: {api.test: 127.0.0.1}, private: [api.test], allow: [${grant}]}\n`;
  writeFileSync(join(policyDirectory, "profile.yaml"), egress);
  return await openStand({ ...withPolicy(config, policyDirectory), trustedCa });
}

async function openServer(authority: SessionAuthority): Promise<{ port: number } & AsyncDisposable> {
  const large = Buffer.alloc(MEGABYTES * 1_000_000, "x");
  const context = await authority.contextFor("api.test");
  const server = createServer({ SNICallback: (_name, done) => done(null, context) }, (request, response) => {
    response.end(request.url === "/large" ? large : "small");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function stdoutOf(result: unknown): string {
  return (result as { stdout: string }).stdout;
}

function figures(stdout: string): Figures {
  return JSON.parse(stdout) as Figures;
}
