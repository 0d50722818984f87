import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";
import { z } from "zod";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import { WEBHOOK_SECRET } from "./approvals.ts";
import { openOrigin } from "./egress.ts";

const closed = z.strictObject({ version: z.literal(1), questionId: z.string(), how: z.string() });
const requested = z.strictObject({
  version: z.literal(1),
  question: z.looseObject({ id: z.string(), digest: z.string() }),
});
const base = { timestamp: z.iso.datetime() };
const messageSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("approval.requested"), data: requested, ...base }),
  z.strictObject({ type: z.literal("approval.closed"), data: closed, ...base }),
]);

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly id: string;
  /** Absent for a GET. */
  readonly message?: z.infer<typeof messageSchema>;
}

export interface Sent {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A receiver of webhooks on loopback, with TLS, that checks signatures by the library of Standard Webhooks. */
export async function openReceiver(
  authority: SessionAuthority,
  answer: (received: Received, at: number) => Sent | Promise<Sent>,
) {
  const received: Received[] = [];
  const errors: unknown[] = [];
  const waiting: { readonly is: (it: Received) => boolean; readonly resolve: (it: Received) => void }[] = [];
  const webhook = new Webhook(WEBHOOK_SECRET);

  async function read(request: IncomingMessage): Promise<Received> {
    const { method = "", url: path = "", headers } = request;
    const body = await text(request);
    const id = String(headers["webhook-id"]);
    const given = webhook.verify(body, headers as Record<string, string>);
    if (method === "GET") return { method, path, id };
    if (headers["content-type"] !== "application/json") throw new Error("it is not JSON");
    return { method, path, id, message: messageSchema.parse(given) };
  }

  const origin = await openOrigin((request, response) => {
    void (async () => {
      try {
        const it = await read(request);
        received.push(it);
        for (const { is, resolve } of waiting) if (is(it)) resolve(it);
        const { status, headers = {}, body = "" } = await answer(it, received.length);
        response.writeHead(status, headers).end(body);
      } catch (error) {
        errors.push(error);
        response.writeHead(400).end();
      }
    })();
  }, authority);
  return {
    url: `https://localhost:${origin.port}/approvals`,
    origin: `https://localhost:${origin.port}`,
    received,
    errors,
    /** The first that is so. */
    until(is: (it: Received) => boolean): Promise<Received> {
      const { promise, resolve } = Promise.withResolvers<Received>();
      const found = received.find(is);
      if (found) resolve(found);
      else waiting.push({ is, resolve });
      return promise;
    },
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  };
}

/** A body with the headers that sign it, as the library of Standard Webhooks does. */
export function signedReply(body: object | string, { secret = WEBHOOK_SECRET, nowMs = Date.now() } = {}): Sent {
  const content = typeof body === "string" ? body : JSON.stringify(body);
  const at = new Date(nowMs);
  const headers = {
    "webhook-id": "msg_answer",
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    "webhook-signature": new Webhook(secret).sign("msg_answer", at, content),
  };
  return { status: 200, headers, body: content };
}
