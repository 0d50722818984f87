import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect, createSecureContext, type SecureContextOptions } from "node:tls";
import { abortable, deadline } from "./deadline.ts";
import { messageOf } from "./error.ts";
import { once } from "./once.ts";
import { printable } from "./text.ts";

/** The most that an answer may hold, where the caller names nothing else. */
const MAX_BYTES = 64 * 1024;

export interface OutboundRequest {
  readonly method: "GET" | "POST";
  /** `https:` only. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
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
 * @throws what the caller's `failed` makes, or the signal's reason
 */
export type SendOutbound = (request: OutboundRequest) => Promise<Reply>;

export interface OutboundPorts {
  /** In PEM: the system's and the configured ones. */
  readonly authorities: () => Promise<readonly string[]>;
  /** Where the network's own proxy is the only way out. */
  readonly upstreamProxy?: ((host: string, port: number, signal: AbortSignal) => Promise<Duplex>) | undefined;
  /** Takes secrets out of what may be a server's words, before that is cut, or a part would stay; by default it holds none. */
  readonly hide?: ((text: string) => string) | undefined;
  /** The error that a request ends with; the message may be shown. */
  readonly failed: (message: string, cause?: unknown) => Error;
  /** What proves to the server who asks. */
  readonly identity?: Pick<SecureContextOptions, "cert" | "key"> | undefined;
  /** The most that an answer may hold; 64 KiB by default. */
  readonly maxBytes?: number;
}

/** Requests of the gateway itself to where an administrator wants it to turn: that may be in the private network. */
export function createOutbound({
  authorities,
  upstreamProxy,
  hide = (text) => text,
  failed,
  identity,
  maxBytes = MAX_BYTES,
}: OutboundPorts): SendOutbound {
  const trusted = once(async () => createSecureContext({ ca: [...(await authorities())], ...identity }));
  return async ({ method, url, headers, body, timeoutMs, signal }) => {
    signal.throwIfAborted();
    const fail = (problem: string, cause?: unknown) => failed(`\`${url.host}\` ${problem}`, cause);
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
          createConnection: () =>
            connect({ ...way, ...name, secureContext, ALPNProtocols: ["http/1.1"], rejectUnauthorized: true }),
          signal: limit,
        },
        (message) => void contentOf(message, maxBytes).then(result.resolve, result.reject),
      );
      asking.on("error", result.reject);
      // Without this, the connection would end and nobody be told.
      asking.on("upgrade", (_message, upgraded) => {
        upgraded.destroy();
        result.reject(new Error("it wants to speak another protocol (101)"));
      });
      asking.end(body);
      return await abortable(result.promise, limit);
    } catch (error) {
      signal.throwIfAborted();
      if (limit.aborted) throw fail(`did not answer within ${timeoutMs / 1000} s`);
      // A server's certificate has a say in it.
      throw fail(`did not answer: ${printable(hide(messageOf(error)), 300)}`, error);
    }
  };
}

async function contentOf(message: IncomingMessage, maxBytes: number): Promise<Reply> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop ends the connection.
    if (bytes > maxBytes) throw new Error(`its answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return { status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(chunks) };
}
