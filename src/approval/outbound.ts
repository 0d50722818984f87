import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { connect, createSecureContext } from "node:tls";
import type { TunnelThrough } from "../egress/upstream-proxy.ts";
import { GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { messageOf } from "../lib/error.ts";
import { once } from "../lib/once.ts";
import { printable } from "../lib/text.ts";

/** The most that an answer may hold. */
const MAX_BYTES = 64 * 1024;

export interface OutboundRequest {
  readonly method: "GET" | "POST";
  /** `https:` only. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * One request; a redirect is an answer like any other, and is not followed.
 * @throws GatewayError APPROVAL_CHANNEL_FAILED, or the signal's reason
 */
export type SendOutbound = (request: OutboundRequest) => Promise<Reply>;

export interface OutboundPorts {
  /** In PEM: the system's and the configured ones. */
  readonly authorities: () => Promise<readonly string[]>;
  /** Where the network's own proxy is the only way out. */
  readonly upstreamProxy?: TunnelThrough;
}

/** Requests of the gateway itself to where people are asked: an administrator has named it, so it may be in the private network. */
export function createOutbound({ authorities, upstreamProxy }: OutboundPorts): SendOutbound {
  const trusted = once(async () => createSecureContext({ ca: [...(await authorities())] }));
  return async ({ method, url, headers, body, timeoutMs, signal }) => {
    signal.throwIfAborted();
    const fail = (problem: string, cause?: unknown) =>
      new GatewayError("APPROVAL_CHANNEL_FAILED", `\`${url.host}\` ${problem}`, { cause });
    if (url.protocol !== "https:") throw fail("is not asked without TLS");
    const limit = deadline(timeoutMs, signal);
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = Number(url.port || 443);
    try {
      const secureContext = await trusted();
      const socket = await upstreamProxy?.(host, port, limit);
      const way = socket ? { socket, host } : { host, port };
      const name = isIP(host) === 0 ? { servername: host } : {};
      const result = Promise.withResolvers<Reply>();
      const asking = requestHttps(
        {
          method,
          host,
          port,
          path: url.pathname + url.search,
          headers: { ...headers, host: url.host, "content-length": String(Buffer.byteLength(body)) },
          // With an agent of any kind, this would not be called, and the proxy passed by.
          createConnection: () => connect({ ...way, ...name, secureContext, ALPNProtocols: ["http/1.1"] }),
          signal: limit,
        },
        (message) => void contentOf(message).then(result.resolve, result.reject),
      );
      asking.on("error", result.reject);
      asking.end(body);
      return await result.promise;
    } catch (error) {
      signal.throwIfAborted();
      if (limit.aborted) throw fail(`did not answer within ${timeoutMs / 1000} s`);
      // A server's certificate has a say in it.
      throw fail(`did not answer: ${printable(messageOf(error), 300)}`, error);
    }
  };
}

async function contentOf(message: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop ends the connection.
    if (bytes > MAX_BYTES) throw new Error(`its answer has more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(chunks) };
}
