import { once } from "node:events";
import { Agent, type AgentOptions } from "node:http";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { GatewayError } from "../errors.ts";
import type { Dial } from "./dial.ts";
import type { Target } from "./gate.ts";

const IDLE_MS = 4_000;
const HANDSHAKE_MS = 20_000;
/** To one host at once: as many as a session may have open. */
const MAX_CONNECTIONS = 256;

export interface UpstreamPorts {
  readonly dial: Dial;
  /** In PEM. */
  readonly authorities: () => Promise<readonly string[]>;
  /** Aborts when the session ends. */
  readonly ending: AbortSignal;
}

/** Connections of one session to servers whose requests are read; kept for the next request for a few seconds. */
export interface Upstream extends Disposable {
  agent(scheme: Target["scheme"]): Agent;
  /** A connection of its own. @throws BelowFloor, GatewayError CONNECTION_FAILED */
  connect(target: Target, signal: AbortSignal): Promise<Duplex>;
  /** The address that one of these connections leads to; absent behind another proxy. */
  addressOf(connection: Duplex): string | undefined;
}

export function createUpstream({ dial, authorities, ending }: UpstreamPorts): Upstream {
  const addresses = new WeakMap<Duplex, string>();
  const connect = async ({ host, port, scheme }: Target, signal: AbortSignal): Promise<Duplex> => {
    const { socket, address } = await dial(host, port, signal);
    if (address !== undefined) addresses.set(socket, address);
    if (scheme === "http") return socket;
    const servername = isIP(host) ? {} : { servername: host };
    const secure = connectTls({
      socket,
      ca: [...(await authorities())],
      rejectUnauthorized: true,
      ALPNProtocols: ["http/1.1"],
      ...servername,
      host,
    });
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_MS)]);
      await once(secure, "secureConnect", { signal: patience });
      if (address !== undefined) addresses.set(secure, address);
      // An error between two holders must not end the gateway.
      secure.on("error", () => undefined);
      return secure;
    } catch (cause) {
      secure.destroy();
      signal.throwIfAborted();
      throw new GatewayError("CONNECTION_FAILED", `\`${host}:${port}\`: ${wordsOf(cause)}`, { cause });
    }
  };
  const agentOf = (scheme: Target["scheme"]) => {
    const options: AgentOptions = { keepAlive: true, maxSockets: MAX_CONNECTIONS, maxFreeSockets: 4, timeout: IDLE_MS };
    const agent = new Agent(options);
    agent.createConnection = ({ host, port }, done) => {
      connect({ host: host ?? "", port: Number(port), scheme }, ending).then(
        (stream) => done?.(null, stream),
        (error: Error) => done?.(error, undefined as never),
      );
      return undefined;
    };
    return agent;
  };
  const agents = { http: agentOf("http"), https: agentOf("https") };
  return {
    agent: (scheme) => agents[scheme],
    connect,
    addressOf: (connection) => addresses.get(connection),
    [Symbol.dispose]: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/** A certificate that does not verify is the usual reason, and OpenSSL's code says which. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return "the TLS handshake failed";
  const code = "code" in error && typeof error.code === "string" ? ` (${error.code})` : "";
  return `the TLS handshake failed${code}`;
}
