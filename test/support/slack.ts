import { createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { SLACK_PATH } from "../../src/approval/slack-door.ts";
import type { Action } from "../../src/approval/slack-message.ts";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import { blocksSchema, markupSchema } from "./block-kit.ts";
import { openOrigin } from "./egress.ts";

export const SLACK = {
  token: "xoxb-for-a-test-only",
  signingSecret: "8f742231b10e8888abcd99yyyzzz85a5",
  team: "T0TEAM",
  channel: "C0CHANNEL",
  bot: "U0BOT",
} as const;

const posted = { channel: z.literal(SLACK.channel), text: markupSchema, blocks: blocksSchema };
const bodies = {
  "auth.test": z.strictObject({}),
  "chat.postMessage": z.strictObject({
    ...posted,
    unfurl_links: z.literal(false),
    unfurl_media: z.literal(false),
  }),
  "chat.update": z.strictObject({ ...posted, ts: z.string() }),
  "chat.postEphemeral": z.strictObject({
    channel: z.literal(SLACK.channel),
    user: z.string(),
    text: markupSchema,
  }),
};
type Method = keyof typeof bodies;

interface Call {
  readonly method: Method;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like, after it was checked
  readonly body: any;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: object | string;
}

/** Slack's Web API on loopback, with TLS. It refuses what the real one would, and what it wouldn't but should. */
export async function openSlackApi(authority: SessionAuthority) {
  const calls: Call[] = [];
  const scripted: { method: Method; reply: Reply | Promise<Reply> }[] = [];
  const waiting: { method: Method; at: number; resolve: (call: Call) => void }[] = [];
  let messages = 0;

  const origin = await openOrigin((request, response) => {
    void answerTo(request).then(({ status = 200, headers = {}, body }) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    });
  }, authority);

  async function answerTo(request: IncomingMessage): Promise<Reply> {
    const method = (request.url ?? "").replace("/api/", "") as Method;
    const schema = bodies[method];
    if (request.method !== "POST" || !schema) return { status: 404, body: "" };
    if (request.headers.authorization !== `Bearer ${SLACK.token}`)
      return { body: { ok: false, error: "invalid_auth" } };
    const parsed = schema.safeParse(JSON.parse(await text(request)));
    if (!parsed.success) return { body: { ok: false, error: "invalid_blocks", why: z.prettifyError(parsed.error) } };
    const call = { method, body: parsed.data };
    calls.push(call);
    for (const it of waiting) if (calls.filter(({ method: of }) => of === it.method).length >= it.at) resolveOnce(it);
    const at = scripted.findIndex((it) => it.method === method);
    if (at >= 0) return await (scripted.splice(at, 1)[0]?.reply ?? { body: {} });
    return { body: { ok: true, ...answers(method) } };
  }

  function resolveOnce({ method, at, resolve }: (typeof waiting)[number]): void {
    const found = calls.filter((it) => it.method === method)[at - 1];
    if (found) resolve(found);
  }

  function answers(method: Method): object {
    if (method === "auth.test") return { team_id: SLACK.team, user_id: SLACK.bot, url: "https://acme.example.org/" };
    if (method !== "chat.postMessage") return {};
    messages += 1;
    return { channel: SLACK.channel, ts: tsOf(messages) };
  }

  return {
    root: new URL(`https://localhost:${origin.port}/api/`),
    calls,
    /** What the next call of this method is answered with. */
    script: (method: Method, reply: Reply | Promise<Reply>) => void scripted.push({ method, reply }),
    /** The nth call of a method. */
    call(method: Method, at = 1): Promise<Call> {
      const { promise, resolve } = Promise.withResolvers<Call>();
      const waiter = { method, at, resolve };
      waiting.push(waiter);
      resolveOnce(waiter);
      return promise;
    },
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  };
}

/** Where the nth message is. */
export function tsOf(at: number): string {
  return `1700000000.${String(at).padStart(6, "0")}`;
}

/** What Slack sends when somebody clicks, with keys that it has besides. */
export function clickOf(
  { id, digest }: { id: string; digest: string },
  action: Action | string = "glovebox_allow_call",
) {
  return {
    type: "block_actions",
    user: { id: "U0ADA", username: "ada", name: "ada", team_id: SLACK.team } as Record<string, unknown>,
    api_app_id: "A0APP",
    token: "deprecated",
    container: { type: "message", message_ts: tsOf(1), channel_id: SLACK.channel, is_ephemeral: false },
    trigger_id: "1.2.3",
    team: { id: SLACK.team, domain: "acme" },
    enterprise: null,
    is_enterprise_install: false,
    channel: { id: SLACK.channel, name: "approvals" },
    message: { type: "message", ts: tsOf(1), text: "…" },
    response_url: "https://hooks.example.org/actions/1/2/3",
    actions: [
      {
        type: "button",
        action_id: action,
        block_id: id,
        value: JSON.stringify({ questionId: id, digest }),
        action_ts: "1700000001.000001",
      },
    ],
  };
}

export interface Sent {
  readonly body: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** A payload in Slack's form, signed. */
export function signed(payload: unknown, nowMs = Date.now(), key: string = SLACK.signingSecret): Sent {
  const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
  return { body, headers: headersOf(body, nowMs, key) };
}

export function headersOf(
  body: string,
  nowMs = Date.now(),
  key: string = SLACK.signingSecret,
  fraction = "",
): Sent["headers"] {
  const timestamp = `${Math.floor(nowMs / 1000)}${fraction}`;
  const mac = createHmac("sha256", key).update(`v0:${timestamp}:${body}`).digest("hex");
  return [
    ["content-type", "application/x-www-form-urlencoded"],
    ["x-slack-request-timestamp", timestamp],
    ["x-slack-signature", `v0=${mac}`],
  ];
}

/** The status that the door answers with. */
export async function knock(
  port: number,
  { body, headers }: Sent,
  path: string = SLACK_PATH,
  method = "POST",
): Promise<number> {
  const { request } = await import("node:http");
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const asking = request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
    response.resume();
    response.once("end", () => resolve(response.statusCode ?? 0));
  });
  const values = new Map<string, string[]>();
  for (const [name, value] of headers) values.set(name, [...(values.get(name) ?? []), value]);
  for (const [name, all] of values) asking.setHeader(name, all.length === 1 ? (all[0] ?? "") : all);
  asking.on("error", reject);
  asking.end(body);
  return await promise;
}
