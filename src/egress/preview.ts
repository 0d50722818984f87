import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { asGatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { Logger } from "../log.ts";
import { plainAnswer } from "./exchange.ts";
import { endSoon } from "./http-client.ts";
import { listenOnLoopback } from "./loopback.ts";
import { type Admitted, admit, type Door, TOKEN_NAME } from "./preview-door.ts";
import { type DialGuest, forward, upgrade } from "./preview-forward.ts";

/** Of this computer's programs, on each address; most have no token. */
const MAX_SOCKETS = 256;
/** Into the sandbox. */
const MAX_FORWARDED = 64;
const MAX_HEADER_BYTES = 65_536;
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 30_000;
/** A connection on which nothing moves, WebSocket or not. */
const IDLE_MS = 600_000;

export interface PreviewPorts {
  /** Of the sandbox's loopback. */
  readonly port: number;
  readonly dial: DialGuest;
  readonly log: Logger;
}

/** One port of a sandbox, reachable on this computer's loopback. Disposal ends its connections. */
export interface Preview extends Disposable {
  readonly port: number;
  readonly hostPort: number;
  readonly token: string;
  /** With the token in it. */
  readonly url: string;
  /** How many requests went into the sandbox, and how many did not. */
  readonly counts: { readonly requests: number; readonly refused: number };
}

/** In place of the sandbox's. */
interface Answer {
  readonly status: number;
  readonly text: string;
  /** Names and values. */
  readonly headers?: readonly string[];
}

const PLAIN = ["Content-Type", "text/plain; charset=utf-8", "Cache-Control", "no-store", "Connection", "close"];

export async function openPreview({ port, dial, log }: PreviewPorts): Promise<Preview> {
  const token = randomBytes(24).toString("base64url");
  const host = `preview-${randomBytes(8).toString("hex")}.localhost`;
  const sockets = new Set<Socket>();
  const counts = { requests: 0, refused: 0 };
  let forwarded = 0;
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 5_000,
    insecureHTTPParser: false,
  });
  server.timeout = IDLE_MS;
  const loopback = await listenOnLoopback(MAX_SOCKETS, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
    server.emit("connection", socket);
  });
  const door: Door = { host, port: loopback.port, token };

  /** What may be sent into the sandbox, or what is answered instead. */
  function consider(request: IncomingMessage): Admitted | Answer {
    const admission = admit(request, door);
    if (admission.kind === "welcome") return { status: 303, text: "come in", headers: cookieFor(admission, token) };
    if (admission.kind === "admitted" && forwarded < MAX_FORWARDED) return admission;
    counts.refused += 1;
    if (admission.kind === "admitted") return { status: 503, text: "too many requests are under way; try again" };
    return { status: admission.status, text: admission.reason };
  }

  /** Counts what is sent into the sandbox as long as `client` is there for the answer. */
  function carry(client: ServerResponse | Duplex, work: () => Promise<void>, onFailed: (answer: Answer) => void): void {
    counts.requests += 1;
    forwarded += 1;
    client.once("close", () => {
      forwarded -= 1;
    });
    work()
      .catch((error: unknown) => {
        const { code, message } = asGatewayError(error);
        if (code === "INTERNAL") log.warn({ err: error, port }, "a request to an exposed port was not carried");
        onFailed({ status: code === "CONNECTION_FAILED" ? 502 : 503, text: printable(message, 500) });
      })
      // What the sandbox made of the answer so far lets no other one be given; a rejection would end the gateway.
      .catch(() => client.destroy());
  }

  server.on("request", (request, response) => {
    const answer = ({ status, text, headers = [] }: Answer) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(status, [...PLAIN, ...headers]).end(`glovebox: ${text}\n`);
    };
    const considered = consider(request);
    if ("status" in considered) answer(considered);
    else carry(response, () => forward(request, response, considered, dial), answer);
  });
  server.on("upgrade", (request, client: Duplex, head) => {
    if (client instanceof Socket) client.setTimeout(IDLE_MS, () => client.destroy());
    const answer = ({ status, text }: Answer) => {
      endSoon(client, plainAnswer(status, text));
    };
    const considered = consider(request);
    if ("status" in considered) answer(considered);
    else carry(client, () => upgrade(request, client, head, considered, dial), answer);
  });
  server.on("clientError", (_error, client) => {
    endSoon(client, plainAnswer(400, "the request can't be read"));
  });

  return {
    port,
    hostPort: loopback.port,
    token,
    url: `http://${host}:${loopback.port}/?${TOKEN_NAME}=${token}`,
    counts,
    [Symbol.dispose]: () => {
      loopback[Symbol.dispose]();
      for (const it of sockets) it.destroy();
    },
  };
}

/**
 * Lax, so that a link to the preview works wherever it stands; what else other sites' pages cause is refused by what browsers say of it
 * (`preview-door.ts`). It is not said where it came from, which was the token.
 */
function cookieFor({ location }: { readonly location: string }, token: string): string[] {
  const cookie = `${TOKEN_NAME}=${token}; Path=/; HttpOnly; SameSite=Lax`;
  return ["Location", location, "Set-Cookie", cookie, "Referrer-Policy", "no-referrer"];
}
