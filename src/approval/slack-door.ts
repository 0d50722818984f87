import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import type { Logger } from "../log.ts";
import { SeenSignatures, slackProblem } from "./slack-signature.ts";

/** What the app's "Interactivity" request URL must end in. */
export const SLACK_PATH = "/slack/interactivity";
/** A click carries the whole message, escaped twice. */
const MAX_BODY_BYTES = 256 * 1024;
const MAX_CONNECTIONS = 64;
/** How long a request may take to arrive, in ms. */
const REQUEST_MS = 5_000;

export interface DoorOptions {
  readonly host: string;
  readonly port: number;
  /** The signing secret; absent as long as nobody was asked: nothing is accepted then. */
  readonly key: () => string | undefined;
  /** What Slack says, after it was told that it arrived. */
  readonly onPayload: (payload: unknown) => void;
  readonly log: Pick<Logger, "warn" | "debug">;
  readonly requestMs?: number;
}

export interface Door extends AsyncDisposable {
  readonly port: number;
}

type Admission = { readonly payload: unknown } | { readonly status: number; readonly why: string };

/**
 * The one way in for Slack's clicks. Whoever reaches it may be anybody: nothing of a request is parsed before its signature is checked.
 * @throws GatewayError APPROVAL_CHANNEL_FAILED when the port can't be had
 */
export async function openSlackDoor(options: DoorOptions): Promise<Door> {
  const { requestMs = REQUEST_MS, log } = options;
  const seen = new SeenSignatures();
  const told = new Set<string>();
  const server = createServer(
    {
      requestTimeout: requestMs,
      keepAliveTimeout: requestMs,
      connectionsCheckingInterval: Math.min(1_000, requestMs),
      maxHeaderSize: 16 * 1024,
    },
    (request, response) => void answer(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const admission = await admit(request, options.key(), seen);
      if ("payload" in admission) {
        // Slack shows an error to whoever clicked when it waits for more than three seconds.
        response.writeHead(200, { "content-length": 0 }).end();
        options.onPayload(admission.payload);
        return;
      }
      const { status, why } = admission;
      // A stranger must not be able to fill the log.
      log[told.has(why) ? "debug" : "warn"]({ status }, `refused what came for Slack: ${why}`);
      told.add(why);
      response.writeHead(status, { "content-length": 0, connection: "close" }).end();
    } catch (error) {
      log.debug({ err: error }, "a connection for Slack broke off");
      response.destroy();
    }
  }

  await listen(server, options);
  server.on("error", (error) => log.warn({ err: error }, "the port for Slack's answers"));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

async function admit(request: IncomingMessage, key: string | undefined, seen: SeenSignatures): Promise<Admission> {
  const { method, url } = request;
  if (url !== SLACK_PATH) return refused(404, `its path is not ${SLACK_PATH}`);
  if (method !== "POST") return refused(405, "its method is not POST");
  const header = (name: string) => onlyOne(request.rawHeaders, name);
  if (!/^application\/x-www-form-urlencoded(?:; *charset=utf-8)?$/i.test(header("content-type") ?? "")) {
    return refused(415, "its content type is not the one of Slack's clicks");
  }
  const [timestamp, signature] = [header("x-slack-request-timestamp"), header("x-slack-signature")];
  if (timestamp === undefined || signature === undefined) return refused(401, "it is not signed");
  if (key === undefined) return refused(503, "nobody was asked yet");
  const body = await bodyOf(request);
  if (!body) return refused(413, `it has more than ${MAX_BODY_BYTES} bytes`);
  const nowMs = Date.now();
  const signed = { timestamp, signature, body };
  const problem = slackProblem(key, signed, nowMs);
  if (problem) return refused(401, problem);
  if (!seen.isNew(signed, nowMs)) return refused(401, "it came before");
  const form = [...new URLSearchParams(body.toString("utf8"))];
  const [[name, value] = []] = form;
  if (form.length !== 1 || name !== "payload" || value === undefined) return refused(400, "it holds no payload");
  return parsed(value);
}

function parsed(text: string): Admission {
  try {
    return { payload: JSON.parse(text) };
  } catch {
    return refused(400, "its payload is not JSON");
  }
}

/** A header's value where it is there once: of two, somebody before us may have read the other. */
function onlyOne(rawHeaders: readonly string[], name: string): string | undefined {
  const values = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
  return values.length === 1 ? values[0] : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Read on its own events: an iteration that is left would end the connection before it is answered.
  const result = Promise.withResolvers<Buffer | undefined>();
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
    else result.resolve(undefined);
  });
  request.once("end", () => result.resolve(Buffer.concat(chunks)));
  request.once("error", result.reject);
  request.once("close", () => result.reject(new Error("it broke off")));
  return await result.promise;
}

function refused(status: number, why: string): Admission {
  return { status, why };
}

async function listen(server: Server, { host, port }: DoorOptions): Promise<void> {
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen({ host, port, exclusive: true }, listening.resolve);
  try {
    await listening.promise;
    server.off("error", listening.reject);
  } catch (cause) {
    const code = codeOf(cause);
    const why =
      code === "EADDRINUSE"
        ? "another program has it, perhaps another gateway: each needs a port, and a Slack app, of its own"
        : `it can't be had (${String(code)})`;
    throw new GatewayError("APPROVAL_CHANNEL_FAILED", `the port for Slack's answers, ${host}:${port}: ${why}`, {
      cause,
    });
  }
}
