import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect, createSecureContext, type SecureContext } from "node:tls";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import { messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { hostOf, isLoopback } from "./otlp-settings.ts";
import { certificatesIn } from "./pem-files.ts";
import { DeliveryFailed, type SinkPorts } from "./sink.ts";

/** From the first byte to the last of the answer. */
const TIMEOUT_MS = 30_000;
/** The most that an answer may hold: a confirmation has a hundred bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

export interface Posted {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** @throws DeliveryFailed when no answer came, GatewayError CONFIG_INVALID for a file of authorities that can't be used; the signal's reason when it is aborted */
export type Post = (
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  signal: AbortSignal,
) => Promise<Posted>;

/** Posts over a connection of its own. A redirect is an answer like any other, and is not followed: headers may hold secrets. */
export function createPost(
  ca: string | undefined,
  { authorities, through, hide }: Pick<SinkPorts, "authorities" | "through" | "hide">,
): Post {
  let trusted: Promise<SecureContext> | undefined;
  return async (url, headers, body, signal) => {
    const limit = deadline(TIMEOUT_MS, signal);
    const host = hostOf(url);
    let socket: Duplex | undefined;
    try {
      limit.throwIfAborted();
      const given = { method: "POST", path: url.pathname, headers: { ...headers, host: url.host }, signal: limit };
      const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
      const sized = { ...given, headers: { ...given.headers, "content-length": String(body.byteLength) } };
      const { promise, resolve, reject } = Promise.withResolvers<Posted>();
      const onAnswer = (message: IncomingMessage) => void answerOf(message).then(resolve, reject);
      const answerTo = (asking: ClientRequest) => {
        asking.on("error", reject);
        // Without this, the connection would end and nobody be told.
        asking.on("upgrade", (_message, upgraded) => {
          upgraded.destroy();
          reject(new DeliveryFailed(`\`${url.host}\` wants to speak another protocol (101)`));
        });
        asking.end(body);
        return abortable(promise, limit);
      };
      if (url.protocol === "http:") {
        return await answerTo(requestHttp({ ...sized, host, port, agent: false }, onAnswer));
      }
      trusted ??= contextOf(ca, authorities);
      const secureContext = await trusted;
      socket = isLoopback(host) ? undefined : await through?.(host, port, limit);
      const way = socket ? { socket, host } : { host, port };
      const name = isIP(host) === 0 ? { servername: host } : {};
      const asking = requestHttps(
        {
          ...sized,
          host,
          port,
          // With an agent of any kind, this would not be called, and the proxy passed by.
          createConnection: () =>
            connect({ ...way, ...name, secureContext, ALPNProtocols: ["http/1.1"], rejectUnauthorized: true }),
        },
        onAnswer,
      );
      return await answerTo(asking);
    } catch (error) {
      signal.throwIfAborted();
      // Whoever mends the file of authorities need not start the gateway anew.
      trusted = undefined;
      if (error instanceof GatewayError) throw error;
      const late = `\`${url.host}\` did not answer within ${TIMEOUT_MS / 1_000} s`;
      if (limit.aborted) throw new DeliveryFailed(late, { isLate: true });
      // A server's certificate has a say in it.
      const message = `\`${url.host}\` did not answer: ${printable(hide(messageOf(error)), 300)}`;
      throw new DeliveryFailed(message, { cause: error });
    } finally {
      socket?.destroy();
    }
  };
}

async function contextOf(ca: string | undefined, authorities: SinkPorts["authorities"]): Promise<SecureContext> {
  const own = ca === undefined ? [] : [await certificatesIn(ca)];
  return createSecureContext({ ca: [...(await authorities()), ...own] });
}

async function answerOf(message: IncomingMessage): Promise<Posted> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop ends the connection.
    if (bytes > MAX_ANSWER_BYTES) throw new DeliveryFailed(`the answer has more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(chunks) };
}
