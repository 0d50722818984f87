import {
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  STATUS_CODES,
  request as sendRequest,
} from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { GatewayError } from "../errors.ts";
import { BelowFloor } from "./dial.ts";
import { pairs } from "./headers.ts";
import type { Passage } from "./traffic.ts";

export const MAX_HEADER_BYTES = 65_536;
/** A server that neither takes nor gives anything for so long is given up. */
const STALLED_MS = 600_000;

/** What a server says to a request; with `stream`, it has switched to another protocol. */
export interface Answer {
  readonly message: IncomingMessage;
  readonly stream?: Duplex;
}

export interface Head {
  readonly method: string;
  readonly path: string;
  /** A flat list of names and values. */
  readonly headers: readonly string[];
}

/** A connection, or an agent that has one to this host. */
export type Way = Pick<RequestOptions, "agent" | "createConnection" | "host" | "port">;

export interface Sending {
  readonly request: ClientRequest;
  /** Rejects with BelowFloor, or GatewayError CONNECTION_FAILED. */
  readonly answer: Promise<Answer>;
  /** Has `answer` reject. */
  fail(error: Error): void;
}

/** Sends a request on, to be given its body; it ends with `gone`. */
export function send({ method, path, headers }: Head, way: Way, gone: AbortSignal): Sending {
  const request = sendRequest({
    method,
    path,
    headers: [...headers],
    setHost: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    ...way,
  });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  // Also when nobody waits for it any more.
  promise.catch(() => undefined);
  const end = () => request.destroy();
  if (gone.aborted) end();
  gone.addEventListener("abort", end, { once: true });
  request.on("socket", (socket) => {
    // A connection into the sandbox is no socket of the system's, and has no such clock.
    if (!(socket instanceof Socket)) return;
    const giveUp = () => socket.destroy();
    socket.setTimeout(STALLED_MS).on("timeout", giveUp);
    // It may serve other requests.
    request.once("close", () => socket.off("timeout", giveUp));
  });
  request.on("response", (message) => resolve({ message }));
  request.on("upgrade", (message, stream, first) => {
    stream.on("error", () => stream.destroy());
    stream.unshift(first);
    resolve({ message, stream });
  });
  request.on("error", (cause: Error) => {
    if (cause instanceof BelowFloor || cause instanceof GatewayError) reject(cause);
    else reject(new GatewayError("CONNECTION_FAILED", "the server broke off, or its answer can't be read", { cause }));
  });
  request.on("close", () => {
    gone.removeEventListener("abort", end);
    reject(new GatewayError("CONNECTION_FAILED", "the server broke off"));
  });
  return { request, answer: promise, fail: reject };
}

/** How many bytes a head is on the wire, about. */
export function countHeads(
  { sent, received }: Passage,
  { path, headers }: Omit<Head, "method">,
  answer: readonly string[],
): void {
  sent(path.length + lengthOf(headers));
  received(lengthOf(answer));
}

function lengthOf(headers: readonly string[]): number {
  return headers.reduce((sum, it) => sum + it.length + 2, 16);
}

/** A head as text, with our own words for its status: a server's could hold anything. @throws TypeError for what no header may hold */
export function headOf(status: number, headers: readonly string[]): string {
  const lines = pairs(headers).map(([name, value]) => {
    if (/[^\t\x20-\x7e\x80-\xff]/.test(name + value)) throw new TypeError("a header that can't be sent on");
    return `${name}: ${value}\r\n`;
  });
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines.join("")}\r\n`;
}

/** An answer of our own. */
export function plainAnswer(status: number, message: string): string {
  const body = `glovebox: ${message}\n`;
  const length = String(Buffer.byteLength(body));
  const type = "text/plain; charset=utf-8";
  return headOf(status, ["Content-Type", type, "Connection", "close", "Content-Length", length]) + body;
}
