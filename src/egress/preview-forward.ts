import {
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
  request as sendRequest,
} from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { GatewayError } from "../errors.ts";
import { pairs } from "./headers.ts";
import { answerOf, endSoon, headOf } from "./http-front.ts";
import type { Admitted } from "./preview-door.ts";
import { forBrowser } from "./preview-headers.ts";
import { splice } from "./splice.ts";

const MAX_HEADER_BYTES = 65_536;

/** A connection to the port in the sandbox, for one request. @throws GatewayError */
export type DialGuest = () => Promise<Duplex>;

/** Sends a request into the sandbox, and the answer back, both at their reader's pace. @throws GatewayError before anything is answered */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  admitted: Admitted,
  dial: DialGuest,
): Promise<void> {
  const sending = send(request, admitted, await dialFor(response, dial));
  const answer = await answerOf(sending, () => {
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    if (length === undefined && coding === undefined) sending.end();
    else pipeline(request, sending, () => undefined);
  });
  response.sendDate = false;
  response.on("finish", () => {
    // Answered before it was read: what is left of it would stand before the next request.
    if (!request.complete) endSoon(request.socket);
  });
  response.writeHead(statusOf(answer), forBrowser(answer.rawHeaders));
  response.flushHeaders();
  pipeline(answer, response, (error) => error && response.destroy());
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
  const sending = send(request, admitted, await dialFor(client, dial));
  const switched = new Promise<undefined>((resolve) => {
    sending.on("upgrade", (answer, stream, first) => {
      resolve(undefined);
      client.write(
        headOf({ statusCode: 101, statusMessage: STATUS_CODES[101] }, forBrowser(answer.rawHeaders, true)),
        "latin1",
      );
      stream.unshift(first);
      client.unshift(head);
      splice(client, stream, { sent: () => undefined, received: () => undefined });
    });
  });
  const answer = await Promise.race([switched, answerOf(sending, () => sending.end())]);
  if (!answer) return;
  const statusCode = statusOf(answer);
  // Its end is the connection's: the chunks that it came in are put together already.
  const headers = pairs(forBrowser(answer.rawHeaders)).filter(([name]) => !/^transfer-encoding$/i.test(name));
  const status = { statusCode, statusMessage: STATUS_CODES[statusCode] ?? "" };
  client.write(headOf(status, [...headers.flat(), "Connection", "close"]), "latin1");
  pipeline(answer, client, () => client.destroy());
}

/** It lasts no longer than whoever it is for. */
async function dialFor(client: ServerResponse | Duplex, dial: DialGuest): Promise<Duplex> {
  const connection = await dial();
  if (client.destroyed) connection.destroy();
  client.once("close", () => connection.destroy());
  return connection;
}

function send({ method = "GET" }: IncomingMessage, { path, headers }: Admitted, connection: Duplex): ClientRequest {
  return sendRequest({
    method,
    path,
    headers: [...headers],
    setHost: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    createConnection: () => connection as never,
  });
}

/** Its reason phrase is left out: it may hold what a header may not. @throws GatewayError CONNECTION_FAILED */
function statusOf({ statusCode = 0 }: IncomingMessage): number {
  if (statusCode >= 200 && statusCode <= 599) return statusCode;
  throw new GatewayError("CONNECTION_FAILED", `the server in the sandbox answered with status ${statusCode}`);
}
