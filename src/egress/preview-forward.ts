import type { IncomingMessage, ServerResponse } from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { GatewayError } from "../errors.ts";
import { headOf, type Sending, send } from "./exchange.ts";
import { pairs } from "./headers.ts";
import { endSoon } from "./http-client.ts";
import type { Admitted } from "./preview-door.ts";
import { forBrowser } from "./preview-headers.ts";
import { splice } from "./splice.ts";

/** A connection to the port in the sandbox, for one request. @throws GatewayError */
export type DialGuest = () => Promise<Duplex>;

/** Sends a request into the sandbox, and the answer back, both at their reader's pace. @throws GatewayError before anything is answered */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  admitted: Admitted,
  dial: DialGuest,
): Promise<void> {
  const sending = await sendIn(request, response, admitted, dial);
  const { "content-length": length, "transfer-encoding": coding } = request.headers;
  if (length === undefined && coding === undefined) sending.request.end();
  else pipeline(request, sending.request, () => undefined);
  const { message, stream } = await sending.answer;
  stream?.destroy();
  if (response.destroyed) return;
  response.sendDate = false;
  response.on("finish", () => {
    // Answered before it was read: what is left of it would stand before the next request.
    if (!request.complete) endSoon(request.socket);
  });
  response.writeHead(statusOf(message), forBrowser(message.rawHeaders));
  response.flushHeaders();
  pipeline(message, response, (error) => error && response.destroy());
}

/** WebSocket and the like: what follows is the two programs' own. @throws GatewayError before anything is answered */
export async function upgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  admitted: Admitted,
  dial: DialGuest,
): Promise<void> {
  // Both pipelines and the server listen to it.
  client.setMaxListeners(32);
  const sending = await sendIn(request, client, admitted, dial);
  sending.request.end();
  const { message, stream } = await sending.answer;
  if (stream) {
    client.write(headOf(101, forBrowser(message.rawHeaders, true)), "latin1");
    if (head.length > 0) client.unshift(head);
    splice(client, stream, { sent: () => undefined, received: () => undefined });
    return;
  }
  // Its end is the connection's: the chunks that it came in are put together already.
  const headers = pairs(forBrowser(message.rawHeaders)).filter(([name]) => !/^transfer-encoding$/i.test(name));
  client.write(headOf(statusOf(message), [...headers.flat(), "Connection", "close"]), "latin1");
  pipeline(message, client, () => client.destroy());
}

/** It lasts no longer than whoever it is for. */
async function sendIn(
  { method = "GET" }: IncomingMessage,
  client: ServerResponse | Duplex,
  admitted: Admitted,
  dial: DialGuest,
): Promise<Sending> {
  const gone = new AbortController();
  const connection = await dial();
  const end = () => {
    gone.abort();
    connection.destroy();
  };
  client.once("close", end);
  if (client.destroyed) end();
  return send({ ...admitted, method }, { createConnection: () => connection as never }, gone.signal);
}

/** Its reason phrase is left out: it may hold what a header may not. @throws GatewayError CONNECTION_FAILED */
function statusOf({ statusCode = 0 }: IncomingMessage): number {
  if (statusCode >= 200 && statusCode <= 599) return statusCode;
  throw new GatewayError("CONNECTION_FAILED", `the server in the sandbox answered with status ${statusCode}`);
}
