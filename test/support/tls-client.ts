import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";
import { createPost } from "../../src/audit/sinks/otlp-post.ts";
import { sendAll } from "../../src/audit/sinks/syslog-connection.ts";
import { createUpstream } from "../../src/egress/upstream.ts";
import { tunnelThrough } from "../../src/egress/upstream-proxy.ts";
import { keepVerifying } from "../../src/lib/keep-verifying.ts";
import { createOutbound } from "../../src/lib/outbound.ts";
import { download } from "../../src/policy/distribution/https.ts";

/**
 * Connects to a server on loopback in each way that the gateway has, trusting nobody: `tls-client.ts <port>`. Prints as JSON what became of each:
 * `connected`, or the error with its causes.
 */
const port = Number(process.argv[2]);
const url = new URL(`https://localhost:${port}/`);
const { signal } = new AbortController();
const authorities = async () => [];
const failed = (message: string, cause?: unknown) => new Error(message, { cause });
const dial = async () => ({ socket: connectTcp(port, "localhost") });

const ways: Record<string, () => Promise<unknown>> = {
  node: async () => {
    const socket = connect({ host: "localhost", port, servername: "localhost", ca: [] });
    await once(socket, "secureConnect");
    socket.destroy();
  },
  outbound: () => {
    const send = createOutbound({ authorities, failed });
    return send({ method: "POST", url, headers: {}, body: "{}", timeoutMs: 60_000, signal });
  },
  otlp: () => createPost(undefined, { authorities, hide: String })(url, {}, Buffer.from("{}"), signal),
  syslog: () => sendAll({ host: "localhost", port, identity: { ca: [] }, timeoutMs: 60_000 }, ["5 hello"], signal),
  upstream: async () => {
    using upstream = createUpstream({ dial, authorities, ending: signal });
    (await upstream.connect({ host: "localhost", port, scheme: "https" }, signal)).destroy();
  },
  proxy: async () => (await tunnelThrough(url, authorities)("example.com", 443, signal)).destroy(),
  download: () => download(url.href, undefined, { authorities }, signal),
};
/** How Node itself connects to a proxy can't be told to verify. */
const byProxy = () => download("https://example.com/", undefined, { authorities, upstreamProxy: url.origin }, signal);

const became: Record<string, string> = {};
for (const [way, connectBy] of Object.entries(ways)) {
  became[way] = await connectBy().then(() => "connected", wordsOf);
}
keepVerifying(process.env, () => undefined);
became["Node's own, without the variable"] = await byProxy().then(() => "connected", wordsOf);
console.log(JSON.stringify(became));

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const code = "code" in error ? String(error.code) : "";
  return `${code} ${error.message} ${wordsOf(error.cause)}`.trim();
}
