import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";

/** Two that want the same port at once try again. */
const MAX_ATTEMPTS = 16;

/** A port of this computer's loopback. Disposal takes no more connections; those that are open are their taker's. */
export interface LoopbackPort extends Disposable {
  readonly port: number;
}

/**
 * Listens on a port that the system chooses, of 127.0.0.1 and of ::1 as well: browsers try that first for names under `localhost`, and
 * whoever else listened there would be sent what is meant for us.
 * @param maxConnections at once, of each address; further ones are dropped
 */
export async function listenOnLoopback(
  maxConnections: number,
  onConnection: (socket: Socket) => void,
): Promise<LoopbackPort> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const first = await listen("127.0.0.1", 0, maxConnections, onConnection);
    const { port } = first.address() as AddressInfo;
    try {
      const second = await listen("::1", port, maxConnections, onConnection);
      return asPort(port, [first, second]);
    } catch (error) {
      const code = codeOf(error);
      // A computer without IPv6 has nobody there.
      if (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT") return asPort(port, [first]);
      first.close();
      if (code !== "EADDRINUSE") throw error;
    }
  }
  throw new GatewayError("INTERNAL", "no port of the loopback is free on both of its addresses");
}

async function listen(
  host: string,
  port: number,
  maxConnections: number,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, onConnection);
  server.maxConnections = maxConnections;
  server.listen({ host, port, exclusive: true });
  await once(server, "listening");
  // What fails later is one connection that was not accepted.
  server.on("error", () => undefined);
  return server;
}

function asPort(port: number, servers: readonly Server[]): LoopbackPort {
  return {
    port,
    [Symbol.dispose]: () => {
      for (const it of servers) it.close();
    },
  };
}
