import { once } from "node:events";
import { connect, isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls, type SecureContextOptions } from "node:tls";
import { hostOf, isLoopback } from "../audit/sinks/otlp-settings.ts";
import { isSocket } from "../audit/sinks/postgres-settings.ts";
import type { SinkSettings } from "../audit/sinks/settings.ts";
import type { SinkPorts } from "../audit/sinks/sink.ts";
import { GatewayError } from "../errors.ts";

/** Where a receiver is. */
export type ReceiverPlace =
  | { readonly socket: string }
  | {
      readonly host: string;
      readonly port: number;
      /** `asked`: after PostgreSQL was asked for it. */
      readonly tls: "at once" | "asked" | "none";
      /** It is this computer itself, to which no proxy leads. */
      readonly isHere?: boolean;
    };

/** PostgreSQL's `SSLRequest`: its length, and 80877103 (postgresql.org/docs/current/protocol-message-formats.html). */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const YES = Buffer.from("S");

/** As its driver finds it; undefined: it is a program of its own that knows. */
export function placeOf(settings: SinkSettings): ReceiverPlace | undefined {
  switch (settings.type) {
    case "https":
      return atUrl(new URL(settings.url));
    case "otlp":
      return atUrl(new URL(settings.url));
    case "syslog":
      return { host: settings.host, port: settings.port, tls: "at once" };
    case "postgres": {
      const { host, port, tls } = settings;
      // libpq's name of a socket in its directory.
      if (isSocket(host)) return { socket: `${host}/.s.PGSQL.${port}` };
      return { host, port, tls: tls === "local" ? "none" : "asked" };
    }
    case "pino":
      return undefined;
  }
}

function atUrl(url: URL): ReceiverPlace {
  const host = hostOf(url);
  const isTls = url.protocol === "https:";
  const port = Number(url.port || (isTls ? 443 : 80));
  return { host, port, tls: isTls ? "at once" : "none", isHere: !isTls && isLoopback(host) };
}

/**
 * Opens a connection as a driver does, up to the end of TLS's handshake, and closes it: nothing is sent that a receiver would keep, and no secret.
 * @throws the network's error or TLS's, GatewayError SINK_FAILED, or the signal's reason
 */
export async function reach(
  place: ReceiverPlace,
  identity: SecureContextOptions,
  through: SinkPorts["through"],
  signal: AbortSignal,
): Promise<void> {
  if ("socket" in place) {
    using _ = destroyed(await connected({ path: place.socket }, signal));
    return;
  }
  const { host, port, tls, isHere } = place;
  const raw = through && !isHere ? await through(host, port, signal) : await connected({ host, port }, signal);
  using _raw = destroyed(raw);
  if (tls === "none") return;
  if (tls === "asked") await askForTls(raw, signal);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const secure = connectTls({ socket: raw, host, ...name, ...identity, minVersion: "TLSv1.2" });
  using _secure = destroyed(secure);
  await once(secure, "secureConnect", { signal });
}

async function connected(to: { path: string } | { host: string; port: number }, signal: AbortSignal): Promise<Duplex> {
  const socket = connect({ ...to, autoSelectFamily: true });
  try {
    await once(socket, "connect", { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function askForTls(raw: Duplex, signal: AbortSignal): Promise<void> {
  const answer = once(raw, "data", { signal });
  raw.write(SSL_REQUEST);
  const [said] = await answer;
  if (!(said instanceof Uint8Array) || !YES.equals(said)) throw new GatewayError("SINK_FAILED", "it offers no TLS");
}

/** Whatever goes wrong with it later is of no interest. */
function destroyed(stream: Duplex): Disposable {
  stream.on("error", () => undefined);
  return { [Symbol.dispose]: () => stream.destroy() };
}
