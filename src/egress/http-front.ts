import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type Duplex, pipeline, Readable } from "node:stream";
import { asGatewayError, GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { type AdmitPorts, admit, Obstacle } from "./admit.ts";
import { BelowFloor } from "./dial.ts";
import { countHeads, headOf, MAX_HEADER_BYTES, plainAnswer, send } from "./exchange.ts";
import type { Target } from "./gate.ts";
import { forwarded, pairs } from "./headers.ts";
import { HttpClient } from "./http-client.ts";
import { type HttpTarget, readHttpTarget } from "./http-target.ts";
import type { LocalSite } from "./local-site.ts";
import { masking, PlaceholderRefused, type SessionSecrets } from "./session-secrets.ts";
import { counted, splice } from "./splice.ts";
import type { Upstream } from "./upstream.ts";

export interface FrontPorts extends AdmitPorts {
  readonly upstream: Upstream;
  readonly log: Logger;
  readonly secrets: SessionSecrets;
  /** A placeholder was on its way to where it does not belong. */
  readonly onExfiltration: () => void;
  /** A CONNECT that can be read: the rest of the connection is what goes to that host. */
  readonly site: LocalSite | undefined;
  readonly onConnect: (connection: Duplex, host: string, port: number) => void;
}

/** Reads HTTP/1.1 requests of the sandbox's programs, has each decided, and sends on what is permitted. */
export interface Front extends Disposable {
  /** @param destination where the connection leads; absent when the program talks to the proxy */
  serve(connection: Duplex, destination: Target | undefined): void;
}

export function createFront(ports: FrontPorts): Front {
  const { traffic, upstream, secrets, log } = ports;
  const clients = new Map<Duplex, HttpClient>();
  // It never listens: its own timeouts and lists of connections are not in force.
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    insecureHTTPParser: false,
    shouldUpgradeCallback: isWebSocket,
  });
  const clientOf = (connection: Duplex): HttpClient => {
    const client = clients.get(connection);
    if (!client) throw new GatewayError("INTERNAL", "a request of no connection");
    return client;
  };

  /** Where a request leads that the gateway answers itself; `undefined` for all others. */
  async function siteTarget(request: IncomingMessage, { destination }: HttpClient): Promise<HttpTarget | undefined> {
    await ports.site?.ready;
    const target = readHttpTarget(request, destination);
    return "problem" in target || !ports.site?.claims(target.host, target.port) ? undefined : target;
  }

  /** What the gateway answers itself: `false` when the request leads elsewhere. */
  async function answerHere(request: IncomingMessage, response: ServerResponse, client: HttpClient): Promise<boolean> {
    const { site, pace } = ports;
    const target = await siteTarget(request, client);
    if (!site || !target) return false;
    await pace.request(client.gone);
    const asked = { method: request.method ?? "", accept: request.headers.accept ?? "*/*" };
    const { status, headers, body } = await site.answer(target, asked, client.gone);
    const length = body instanceof Readable ? {} : { "content-length": Buffer.byteLength(body) };
    response.writeHead(status, { ...headers, ...length });
    if (!(body instanceof Readable)) {
      response.end(request.method === "HEAD" ? undefined : body);
    } else if (request.method === "HEAD") {
      body.destroy();
      response.end();
    } else {
      const { promise: done, resolve } = Promise.withResolvers<void>();
      pipeline(body, response, (error) => {
        // Less than was promised: the program sees that it has not all.
        if (error) response.destroy();
        resolve();
      });
      await done;
    }
    if (!request.complete) client.endSoon();
    return true;
  }

  async function forward(request: IncomingMessage, response: ServerResponse, client: HttpClient): Promise<void> {
    if (await answerHere(request, response, client)) return;
    const { target, passage } = await admit(request, client, ports);
    const filled = await secrets.fill(target, request.method ?? "", forwarded(request.rawHeaders), client.gone);
    passage.request(filled.used);
    const way = { agent: upstream.agent(target.scheme), host: target.host, port: target.port };
    const sending = send({ ...filled, method: request.method ?? "GET" }, way, client.gone);
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    if (length === undefined && coding === undefined) {
      sending.request.end();
    } else {
      const watch = secrets.watch(target, (refusal) => {
        if (response.headersSent) refusePlaceholder(target, refusal);
        else sending.fail(refusal);
      });
      pipeline([request, ...watch, counted(passage.sent), sending.request], () => undefined);
    }
    const { message, stream } = await sending.answer;
    reached(message);
    if (stream) {
      stream.destroy();
      throw new Obstacle(502, "the server switched to another protocol, which was not asked for");
    }
    const mask = maskOf(message, target, filled.used);
    if (response.destroyed) return;
    response.sendDate = false;
    const headers = forwarded(message.rawHeaders);
    countHeads(passage, filled, headers);
    response.writeHead(message.statusCode ?? 502, headers.map(mask.text));
    response.flushHeaders();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    response.once("close", () => resolve());
    pipeline([message, ...mask.streams, counted(passage.received), response], (error) => error && response.destroy());
    await done;
    // Answered before it was read: what is left of it is nobody's, and would stand before the next request.
    if (!request.complete) client.endSoon();

    function reached({ socket }: IncomingMessage): void {
      const address = upstream.addressOf(socket);
      if (address !== undefined) passage.reached(address);
    }
  }

  /** What follows is the two programs' own. */
  async function upgrade(request: IncomingMessage, client: HttpClient, head: Buffer): Promise<void> {
    const { connection } = client;
    // Before Node 24.9 nobody asks the server's callback.
    if (!isWebSocket(request)) throw new Obstacle(400, "only WebSocket can be switched to");
    if (await siteTarget(request, client)) throw new Obstacle(400, "a registry has no other protocol than HTTP");
    const { target, passage } = await admit(request, client, ports);
    const filled = await secrets.fill(target, "GET", forwarded(request.rawHeaders, true), client.gone);
    passage.request(filled.used);
    const own = await upstream.connect(target, client.gone);
    const address = upstream.addressOf(own);
    if (address !== undefined) passage.reached(address);
    const sending = send({ ...filled, method: "GET" }, { createConnection: () => own as never }, client.gone);
    sending.request.end();
    const { message, stream } = await sending.answer;
    const mask = maskOf(message, target, filled.used);
    const headers = forwarded(message.rawHeaders, stream !== undefined);
    countHeads(passage, filled, headers);
    if (!stream) {
      // Its body has been taken out of its chunks, and ends with the connection.
      const plain = pairs(headers)
        .filter(([name]) => name.toLowerCase() !== "transfer-encoding")
        .flat();
      connection.write(headOf(message.statusCode ?? 502, [...plain.map(mask.text), "Connection", "close"]));
      pipeline([message, ...mask.streams, counted(passage.received), connection], () => connection.destroy());
      return;
    }
    connection.write(headOf(101, headers.map(mask.text)));
    if (head.length > 0) connection.unshift(head);
    const watch = secrets.watch(target, (refusal) => refusePlaceholder(target, refusal));
    splice(connection, stream, passage, watch, mask.streams);
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
  function obstacleOf(error: unknown, request: IncomingMessage, client: HttpClient): Obstacle {
    if (error instanceof Obstacle) return error;
    const target = readHttpTarget(request, client.destination);
    const where = "problem" in target ? { host: "unknown", port: 0 } : target;
    if (error instanceof BelowFloor) return new Obstacle(403, traffic.refuse(where, error.message));
    if (error instanceof PlaceholderRefused) return new Obstacle(403, refusePlaceholder(where, error));
    if (client.gone.aborted) return new Obstacle(502, "the program has gone");
    const failure = asGatewayError(error);
    if (failure.code === "INTERNAL" || failure.code === "AUDIT_UNWRITABLE") {
      log.error({ err: error }, "a request was not forwarded");
    }
    return new Obstacle(502, failure.message);
  }

  server.on("request", (request, response) => {
    const client = clientOf(request.socket);
    client.inTurn(async () => {
      try {
        await forward(request, response, client);
      } catch (error) {
        const { status, message } = obstacleOf(error, request, client);
        if (response.headersSent || response.destroyed) {
          response.destroy();
          return;
        }
        const body = `glovebox: ${message}\n`;
        response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
        response.end(body);
        client.endSoon();
      }
    });
  });
  server.on("upgrade", (request, connection, head) => {
    const client = clientOf(connection);
    connection.on("error", () => connection.destroy());
    client.inTurn(async () => {
      try {
        await upgrade(request, client, head);
      } catch (error) {
        const { status, message } = obstacleOf(error, request, client);
        client.endSoon(plainAnswer(status, message));
        return;
      }
      // It is no connection of requests any more: what it is idle for is its own.
      await gone(client);
    });
  });
  server.on("connect", (request, connection, head) => {
    const client = clientOf(connection);
    connection.on("error", () => connection.destroy());
    const authority = /^(.+):(\d{1,5})$/.exec(request.url ?? "");
    if (client.destination || !authority) {
      client.endSoon(plainAnswer(400, "CONNECT takes `host:port`, and the proxy takes CONNECT"));
      return;
    }
    client.inTurn(async () => {
      if (head.length > 0) connection.unshift(head);
      ports.onConnect(connection, authority[1] ?? "", Number(authority[2]));
      await gone(client);
    });
  });
  server.on("clientError", (error: Error & { code?: string }, connection) => {
    const client = clients.get(connection);
    const code = error.code ?? "";
    if (!client || !/^HPE_/.test(code)) {
      connection.destroy();
      return;
    }
    traffic.refuse(client.destination ?? { host: "proxy", port: 0 }, `the request can't be read (${code})`);
    client.endSoon(plainAnswer(code === "HPE_HEADER_OVERFLOW" ? 431 : 400, "the request can't be read"));
  });

  return {
    serve: (connection, destination) => {
      if (connection.destroyed) return;
      clients.set(connection, new HttpClient(connection, destination));
      connection.once("close", () => clients.delete(connection));
      server.emit("connection", connection);
    },
    [Symbol.dispose]: () => {
      for (const connection of clients.keys()) connection.destroy();
    },
  };
}

/** The one protocol that a connection may switch to (RFC 6455 §4.1): others would carry requests that nobody reads. */
function isWebSocket({ method, headers, rawHeaders }: IncomingMessage): boolean {
  const named = rawHeaders.filter((it, index) => index % 2 === 0 && it.toLowerCase() === "upgrade");
  const hasBody = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  const isHandshake = headers["sec-websocket-key"] !== undefined && headers["sec-websocket-version"] === "13";
  const isAsked = named.length === 1 && headers.upgrade?.toLowerCase() === "websocket";
  return method === "GET" && isAsked && isHandshake && !hasBody;
}

function gone({ gone: signal }: HttpClient): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
