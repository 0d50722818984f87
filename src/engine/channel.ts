import { Agent } from "node:http";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from "node:http2";
import { Duplex } from "node:stream";
import type { z } from "zod";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { AgentService } from "./engine.ts";
import { Tunnel } from "./tunnel.ts";

/** The most bytes of an answer of the guest agent's own. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Connections to the container engine at once; more wait for a free one. */
const MAX_TUNNELS = 128;

/**
 * Unread bytes of one stream. Node credits the connection's window at once and the stream's as it is read, so what a guest
 * can make the gateway hold is this times the streams: 96 MiB with all programs, tunnels and connections that a session can have.
 */
const STREAM_WINDOW_BYTES = 256 * 1024;

/**
 * The host's end of the one connection to a guest: HTTP/2, with the gateway as client. Everything that arrives is hostile.
 * The first breach of the protocol or of a limit closes the channel with `CHANNEL_VIOLATION`, its end with `MACHINE_LOST`.
 */
export interface Channel extends Disposable {
  /** Resolves when the guest agent speaks. */
  readonly ready: Promise<void>;
  /** Opens connections to the machine's container engine and to nothing else. */
  readonly dockerAgent: Agent;
  /** Opens a two-way stream to one of the guest agent's services. @throws GatewayError why the channel is closed */
  open(path: AgentService): Duplex;
  /** Aborts, with a `GatewayError` as reason, when the channel ends. */
  readonly closed: AbortSignal;
  close(reason: GatewayError): void;
  /**
   * Asks the guest agent and reads its JSON answer.
   * @throws GatewayError CONTAINER_FAILED (the agent refused), CHANNEL_VIOLATION, MACHINE_LOST
   */
  ask<T>(path: string, question: object, answer: z.ZodType<T>, signal: AbortSignal): Promise<T>;
}

export function openChannel(socket: Duplex): Channel {
  const closed = new AbortController();
  const session = connect("http://guest", {
    createConnection: () => socket,
    settings: {
      enablePush: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxFrameSize: 64 * 1024,
      maxHeaderListSize: 8 * 1024,
      headerTableSize: 4096,
    },
    maxHeaderListPairs: 32,
    maxOutstandingPings: 4,
    maxReservedRemoteStreams: 0,
    maxSettings: 16,
    // MiB; above what the windows let the guest send.
    maxSessionMemory: 128,
  });
  const close = (reason: GatewayError) => {
    if (!closed.signal.aborted) closed.abort(reason);
    session.destroy();
    socket.destroy();
  };
  const ready = guestSpeaks(session, closed.signal);
  session.setMaxListeners(0);
  session.on("error", (error) => close(isViolation(error) ? violation(error) : lost(error)));
  const request = (headers: OutgoingHttpHeaders): ClientHttp2Stream => {
    closed.signal.throwIfAborted();
    const stream = session.request(headers);
    // The agent sends neither; a flood of them would be objects without end.
    stream.on("headers", () => close(violation("an interim response")));
    stream.on("trailers", () => close(violation("trailers")));
    return stream;
  };
  session.on("goaway", (code) => close(code === constants.NGHTTP2_NO_ERROR ? lost() : violation(code)));
  session.on("stream", () => close(violation("the guest opened a stream")));
  session.on("altsvc", () => close(violation("unexpected frame")));
  session.on("origin", () => close(violation("unexpected frame")));
  session.on("close", () => close(lost()));
  socket.on("error", (error) => close(lost(error)));

  return {
    ready,
    closed: closed.signal,
    close,
    dockerAgent: tunnelAgent(() => request({ ":method": "CONNECT", ":authority": "docker" })),
    open: (path) => new Tunnel(request({ ":method": "POST", ":path": path })),
    async ask(path, question, answer, signal) {
      signal.throwIfAborted();
      const stream = request({ ":method": "POST", ":path": path, "content-type": "application/json" });
      try {
        const { status, body } = await abortable(
          exchange(stream, JSON.stringify(question)),
          AbortSignal.any([signal, closed.signal]),
        );
        if (status !== 200)
          throw new GatewayError("CONTAINER_FAILED", `The guest agent refused: ${printable(body, 300)}`);
        return answer.parse(JSON.parse(body));
      } catch (error) {
        closed.signal.throwIfAborted();
        signal.throwIfAborted();
        if (error instanceof GatewayError && error.code !== "CHANNEL_VIOLATION") throw error;
        close(violation(error));
        throw closed.signal.reason;
      } finally {
        stream.close(constants.NGHTTP2_CANCEL);
      }
    },
    [Symbol.dispose]: () => close(lost()),
  };
}

/** The guest's SETTINGS are the first thing that a server sends. */
function guestSpeaks(session: ClientHttp2Session, closed: AbortSignal): Promise<void> {
  const settings = Promise.withResolvers<void>();
  session.once("remoteSettings", () => settings.resolve());
  // Observed here too: a channel may end before anybody waits for it.
  const ready = abortable(settings.promise, closed);
  ready.catch(() => undefined);
  return ready;
}

function tunnelAgent(open: () => ClientHttp2Stream): Agent {
  const agent = new Agent({ keepAlive: false, maxSockets: MAX_TUNNELS, maxTotalSockets: MAX_TUNNELS });
  agent.createConnection = (_options, done) => {
    try {
      return new Tunnel(open());
    } catch (error) {
      // By way of the request's `error` event: a throw would come out of `http.request` itself. The type wants a stream too.
      done?.(error instanceof Error ? error : lost(error), new Duplex());
      return undefined;
    }
  };
  return agent;
}

async function exchange(
  stream: ClientHttp2Stream,
  question: string,
): Promise<{ status: number | undefined; body: string }> {
  const result = Promise.withResolvers<{ status: number | undefined; body: string }>();
  const chunks: Buffer[] = [];
  let status: number | undefined;
  let length = 0;
  stream.on("response", (headers) => {
    status = headers[":status"];
  });
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES)
      result.reject(new GatewayError("CHANNEL_VIOLATION", "The guest's answer is too long."));
    else chunks.push(chunk);
  });
  stream.on("end", () => result.resolve({ status, body: Buffer.concat(chunks).toString("utf8") }));
  stream.on("error", (error) => result.reject(error));
  stream.on("close", () => result.reject(new GatewayError("CHANNEL_VIOLATION", "The guest broke off an answer.")));
  stream.end(question);
  return await result.promise;
}

/** Node's own name for every breach of HTTP/2; anything else is the operating system's word for a closed socket. */
function isViolation(error: Error): boolean {
  return codeOf(error)?.startsWith("ERR_HTTP2_") ?? false;
}

function violation(cause: unknown): GatewayError {
  return new GatewayError("CHANNEL_VIOLATION", undefined, { cause });
}

function lost(cause?: unknown): GatewayError {
  return new GatewayError("MACHINE_LOST", undefined, { cause });
}
