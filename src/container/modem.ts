import { type Agent, type IncomingMessage, request } from "node:http";
import { addAbortSignal, type Duplex, pipeline, type Readable } from "node:stream";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";

/** What dockerode asks of its transport; the parts of docker-modem's `DialOptions` that it uses here. */
export interface Call {
  /** Ends in `?` when `options` are to become the query. */
  readonly path: string;
  readonly method: string;
  readonly options?: { readonly [name: string]: unknown } | undefined;
  readonly file?: Readable | undefined;
  readonly abortSignal?: AbortSignal | undefined;
  readonly hijack?: boolean | undefined;
  readonly isStream?: boolean | undefined;
}

/** `result`: an upgraded connection (hijack), a response to be read (isStream), or a JSON value; nothing of it is validated. */
export type Answer = (error: Error | null, result?: unknown) => void;

export interface Modem {
  /** dockerode sets it. */
  Promise: PromiseConstructor;
  dial(call: Call, answer: Answer): void;
}

/** The engine answered with a status that is not a success. `message` is guest text, made printable. */
export class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The longest answer that is read into memory; the engine's longest that we ask for are a few kilobytes. */
const MAX_ANSWER_BYTES = 1_048_576;

/**
 * dockerode's transport to an engine that may be hostile: an agent that broke out of its container owns the engine and all it
 * says. docker-modem trusts its peer: it follows redirects to any URL *from the host*, buffers answers of any size and reads
 * DOCKER_HOST and its certificates from the environment. This one connects through `agent` alone, follows nothing, reads
 * nothing, and holds at most a mebibyte of an answer.
 */
export function guestModem(agent: Agent): Modem {
  return {
    Promise,
    dial: (call, answer) => {
      dial(agent, call)
        .then((result) => answer(null, result))
        .catch((error: unknown) => answer(asFailure(error)));
    },
  };
}

/** dockerode reads properties of a result that it trusts to be there: what it throws is the engine's doing. */
function asFailure(error: unknown): Error {
  if (error instanceof Error && !(error instanceof TypeError)) return error;
  return new GatewayError("CHANNEL_VIOLATION", "an answer of the engine can't be read", { cause: error });
}

async function dial(agent: Agent, call: Call): Promise<unknown> {
  const { abortSignal: signal, ...options } = { abortSignal: call.abortSignal, ...call.options };
  const body = call.method === "POST" && Object.keys(options).length > 0 ? JSON.stringify(options) : undefined;
  const outgoing = request({
    agent,
    host: "engine",
    method: call.method,
    path: call.method === "POST" ? call.path.replace(/\?$/, "") : withQuery(call.path, options),
    headers: {
      ...(body !== undefined && { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) }),
      // The engine reads the body only when it means to use it: a refusal isn't lost in a broken pipe.
      ...(call.file && { "Content-Type": "application/x-tar", Expect: "100-continue" }),
      ...(call.hijack && { Connection: "Upgrade", Upgrade: "tcp" }),
    },
    ...(signal && { signal }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | Duplex>();
  outgoing.on("error", reject);
  outgoing.once("response", resolve);
  outgoing.once("upgrade", (_response, socket: Duplex, head) => {
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  const { file } = call;
  if (file) {
    // A failure of the body shows in the answer, or in its absence.
    outgoing.once("continue", () => pipeline(file, outgoing, (error) => error && reject(error)));
    outgoing.flushHeaders();
  } else {
    outgoing.end(body);
  }
  try {
    const incoming = await promise;
    if (!("statusCode" in incoming)) return incoming;
    return await settle(incoming, call, signal);
  } catch (error) {
    outgoing.destroy();
    throw error;
  } finally {
    file?.destroy();
  }
}

async function settle(response: IncomingMessage, call: Call, signal: AbortSignal | undefined): Promise<unknown> {
  const status = response.statusCode ?? 0;
  const success = status >= 200 && status < 300;
  if (success && call.isStream && !call.hijack) {
    // Whoever reads it sees the error; nobody reading it yet, or any more, must not end the process.
    response.on("error", () => undefined);
    return signal ? addAbortSignal(signal, response) : response;
  }
  const text = await body(signal ? addAbortSignal(signal, response) : response);
  if (!success) throw new EngineRefusal(status, printable(reason(text) ?? `status ${status}`));
  if (call.hijack) throw new EngineRefusal(status, "the engine did not upgrade the connection");
  return text === "" ? undefined : parsed(text);
}

async function body(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new GatewayError("CHANNEL_VIOLATION", "the engine's answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new GatewayError("CHANNEL_VIOLATION", "the engine's answer is not JSON", { cause });
  }
}

/** The engine's own words: `{"message": "…"}`. */
function reason(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && "message" in value) return String(value.message);
  } catch {
    return text.trim() || undefined;
  }
  return undefined;
}

function withQuery(path: string, options: { readonly [name: string]: unknown }): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) query.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return query.size === 0 ? path.replace(/\?$/, "") : `${path}${query}`;
}
