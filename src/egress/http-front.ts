import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
  request as sendRequest,
} from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { asGatewayError, GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { requestPath } from "../policy/request-path.ts";
import { BelowFloor } from "./dial.ts";
import type { Gate, Target } from "./gate.ts";
import { forwarded, pairs } from "./headers.ts";
import { type HttpTarget, readHttpTarget } from "./http-target.ts";
import { type Filled, masking, PlaceholderRefused, type SessionSecrets } from "./session-secrets.ts";
import { counted, splice } from "./splice.ts";
import type { Passage, Traffic } from "./traffic.ts";
import type { Upstream } from "./upstream.ts";

const MAX_HEADER_BYTES = 65_536;
const HEADERS_TIMEOUT_MS = 20_000;
const IDLE_TIMEOUT_MS = 65_000;
/** What was sent last arrives, although the connection is not read any more. */
const LINGER_MS = 1_000;

export interface FrontPorts {
  readonly gate: Gate;
  readonly traffic: Traffic;
  readonly upstream: Upstream;
  readonly log: Logger;
  readonly secrets: SessionSecrets;
  /** A placeholder was on its way to where it does not belong. */
  readonly onExfiltration: () => void;
  /** Aborts when the session ends. */
  readonly ending: AbortSignal;
  /** A CONNECT that can be read: the rest of the connection is what goes to that host. */
  readonly onConnect: (connection: Duplex, host: string, port: number) => void;
}

/** Reads HTTP/1.1 requests of the sandbox's programs, has each decided, and sends on what is permitted. */
export interface Front extends Disposable {
  /** @param destination where the connection leads; absent when the program talks to the proxy */
  serve(connection: Duplex, destination: Target | undefined): void;
}

/** What a connection of the sandbox is to the front. */
interface Client {
  readonly destination: Target | undefined;
  /** By target. */
  readonly passages: Map<string, Promise<Passage>>;
}

/** What stands in the way of a request, with the status that says so. */
class Obstacle extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function createFront(ports: FrontPorts): Front {
  const { gate, traffic, upstream, secrets, log } = ports;
  const clients = new WeakMap<Duplex, Client>();
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // A body may take as long as it takes; who sends none is found by the connection's other end.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionsCheckingInterval: 5_000,
    insecureHTTPParser: false,
  });
  const clientOf = (connection: Duplex): Client => {
    const client = clients.get(connection);
    if (!client) throw new GatewayError("INTERNAL", "a request of no connection");
    return client;
  };

  /** What is permitted, and on record. @throws Obstacle */
  async function admit(request: IncomingMessage, client: Client): Promise<{ target: HttpTarget; passage: Passage }> {
    const target = readHttpTarget(request, client.destination);
    if ("problem" in target) {
      const named = client.destination ?? { host: "proxy", port: 0 };
      throw new Obstacle(400, traffic.refuse(named, target.problem));
    }
    const path = requestPath(target.path);
    if (path === undefined) {
      const problem = "the request's path can be read in more than one way";
      throw new Obstacle(400, traffic.refuse(target, problem));
    }
    const { host, port, scheme } = target;
    const verdict = gate.request({ host, port, scheme }, { method: request.method ?? "", path });
    if (!verdict.permitted) {
      const what = gate.readsRequests(host) ? `${verdict.reason} (${request.method} ${path})` : verdict.reason;
      throw new Obstacle(403, traffic.refuse(target, what, { policies: verdict.policies }));
    }
    const key = `${scheme}://${host}:${port}`;
    const passage = client.passages.get(key) ?? traffic.open({ host, port, scheme }, verdict);
    client.passages.set(key, passage);
    return { target, passage: await passage };
  }

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { target, passage } = await admit(request, clientOf(request.socket));
    const filled = await secrets.fill(target, request.method ?? "", forwarded(request.rawHeaders), ports.ending);
    passage.request(filled.used);
    const sending = send(request, target, filled, { agent: upstream.agent(target.scheme) });
    const answer = await answerOf(sending, (fail) => {
      const { "content-length": length, "transfer-encoding": coding } = request.headers;
      if (length === undefined && coding === undefined) {
        sending.end();
        return;
      }
      const watch = secrets.watch(target, (refusal) => {
        if (response.headersSent) refusePlaceholder(target, refusal);
        else fail(refusal);
      });
      pipeline([request, ...watch, counted(passage.sent), sending], () => undefined);
    });
    response.sendDate = false;
    response.on("close", () => sending.destroy());
    response.on("finish", () => {
      // Answered before it was read: what is left of it is nobody's, and would stand before the next request.
      if (!request.complete) endSoon(request.socket);
    });
    const mask = maskOf(answer, target, filled.used);
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, forwarded(answer.rawHeaders).map(mask.text));
    response.flushHeaders();
    pipeline([answer, ...mask.streams, counted(passage.received), response], (error) => error && response.destroy());
  }

  /** WebSocket and the like: what follows is the two programs' own. */
  async function upgrade(request: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
    const { target, passage } = await admit(request, clientOf(connection));
    const filled = await secrets.fill(target, request.method ?? "", forwarded(request.rawHeaders, true), ports.ending);
    passage.request(filled.used);
    const own = await upstream.connect(target);
    const sending = send(request, target, filled, { createConnection: () => own as never });
    const switched = new Promise<undefined>((resolve) => {
      sending.on("upgrade", (answer, stream, first) => {
        resolve(undefined);
        const mask = maskOf(answer, target, filled.used);
        connection.write(headOf(answer, forwarded(answer.rawHeaders, true).map(mask.text)));
        stream.unshift(first);
        connection.unshift(head);
        const watch = secrets.watch(target, (refusal) => refusePlaceholder(target, refusal));
        splice(connection, stream, passage, watch, mask.streams);
      });
    });
    const answer = await Promise.race([switched, answerOf(sending, () => sending.end())]);
    if (!answer) return;
    const mask = maskOf(answer, target, filled.used);
    connection.write(headOf(answer, [...forwarded(answer.rawHeaders).map(mask.text), "Connection", "close"]));
    pipeline([answer, ...mask.streams, counted(passage.received), connection], () => connection.destroy());
  }

  /** What of an answer must not be shown. @throws Obstacle when it can't be seen */
  function maskOf(answer: IncomingMessage, { host }: Target, used: readonly string[]) {
    if (answer.statusCode === 401) secrets.refused(used);
    const mask = secrets.mask(host);
    if (!mask) return { text: (it: string) => it, streams: [] };
    if ((answer.headers["content-encoding"] ?? "identity") !== "identity") {
      answer.destroy();
      throw new Obstacle(502, "the server compressed its answer, in which a secret could not be seen");
    }
    return { text: mask.text, streams: [masking(mask)] };
  }

  function refusePlaceholder(target: Pick<Target, "host" | "port">, { message }: PlaceholderRefused): string {
    ports.onExfiltration();
    return traffic.refuse(target, message, { event: "placeholder-refused" });
  }

  /** What to tell the program; the reason is kept for the result of the call. */
  function obstacleOf(error: unknown, request: IncomingMessage, connection: Duplex): Obstacle {
    if (error instanceof Obstacle) return error;
    const target = readHttpTarget(request, clients.get(connection)?.destination);
    const where = "problem" in target ? { host: "unknown", port: 0 } : target;
    if (error instanceof BelowFloor) {
      return new Obstacle(403, traffic.refuse(where, error.message));
    }
    if (error instanceof PlaceholderRefused) return new Obstacle(403, refusePlaceholder(where, error));
    const failure = asGatewayError(error);
    if (failure.code === "INTERNAL" || failure.code === "AUDIT_UNWRITABLE")
      log.error({ err: error }, "a request was not forwarded");
    return new Obstacle(502, failure.message);
  }

  server.on("request", (request, response) => {
    forward(request, response).catch((error: unknown) => {
      const { status, message } = obstacleOf(error, request, request.socket);
      if (response.headersSent) {
        response.destroy();
        return;
      }
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
      response.end(`glovebox: ${message}\n`);
    });
  });
  server.on("upgrade", (request, connection, head) => {
    connection.on("error", () => connection.destroy());
    upgrade(request, connection, head).catch((error: unknown) => {
      const { status, message } = obstacleOf(error, request, connection);
      connection.end(plainAnswer(status, message));
    });
  });
  server.on("connect", (request, connection, head) => {
    connection.on("error", () => connection.destroy());
    const { destination } = clientOf(connection);
    const authority = /^(.+):(\d{1,5})$/.exec(request.url ?? "");
    if (destination || !authority) {
      connection.end(plainAnswer(400, "CONNECT takes `host:port`, and the proxy takes CONNECT"));
      return;
    }
    connection.unshift(head);
    ports.onConnect(connection, authority[1] ?? "", Number(authority[2]));
  });
  server.on("clientError", (error: Error & { code?: string }, connection) => {
    const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
    if (error.code !== "ECONNRESET" && clients.has(connection)) {
      traffic.refuse(
        clients.get(connection)?.destination ?? { host: "proxy", port: 0 },
        `the request can't be read (${error.code ?? "broken"})`,
      );
    }
    if (connection.writable) connection.end(plainAnswer(status, "the request can't be read"));
    else connection.destroy();
  });

  return {
    serve: (connection, destination) => {
      const client: Client = { destination, passages: new Map() };
      clients.set(connection, client);
      connection.once("close", () => {
        for (const it of client.passages.values())
          void it.then(
            (passage) => passage.close(),
            () => undefined,
          );
      });
      server.emit("connection", connection);
    },
    [Symbol.dispose]: () => server.closeAllConnections(),
  };
}

function send(
  request: IncomingMessage,
  target: HttpTarget,
  { path, headers }: Filled,
  way: Pick<RequestOptions, "agent" | "createConnection">,
): ClientRequest {
  return sendRequest({
    host: target.host,
    port: target.port,
    method: request.method ?? "GET",
    path,
    headers: [...headers],
    setHost: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    ...way,
  });
}

/** The answer to a request. What it fails with afterwards is its stream's. @throws BelowFloor, GatewayError CONNECTION_FAILED */
export async function answerOf(
  sending: ClientRequest,
  begin: (fail: (error: Error) => void) => void,
): Promise<IncomingMessage> {
  const result = Promise.withResolvers<IncomingMessage>();
  sending.on("response", result.resolve);
  sending.on("error", (cause: Error) => {
    if (cause instanceof BelowFloor || cause instanceof GatewayError) result.reject(cause);
    else
      result.reject(
        new GatewayError("CONNECTION_FAILED", "the server broke off, or its answer can't be read", { cause }),
      );
  });
  sending.on("close", () => result.reject(new GatewayError("CONNECTION_FAILED", "the server broke off")));
  begin(result.reject);
  return await result.promise;
}

export function headOf(
  { statusCode, statusMessage }: Pick<IncomingMessage, "statusCode" | "statusMessage">,
  headers: readonly string[],
): string {
  const lines = pairs(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines.join("")}\r\n`;
}

/** Lets the answer arrive. */
export function endSoon(connection: Duplex): void {
  connection.end();
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}

export function plainAnswer(status: number, message: string): string {
  const body = `glovebox: ${message}\n`;
  const head = `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n`;
  return `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
