import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { parseJson } from "../lib/json.ts";
import type { Reply, SendOutbound } from "../lib/outbound.ts";

const REQUEST_MS = 10_000;
/** Times that Slack may ask for patience. */
const MAX_PAUSES = 3;

export interface SlackApiPorts {
  readonly send: SendOutbound;
  /** The bot's. @throws GatewayError SECRET_UNAVAILABLE */
  readonly token: (signal: AbortSignal) => Promise<string>;
  /** `https://slack.com/api/` */
  readonly root: URL;
}

export interface SlackCall {
  readonly method: "auth.test" | "chat.postMessage" | "chat.postEphemeral" | "chat.update";
  readonly body: object;
  /** After this, in epoch ms, an answer is of no use: patience ends earlier. */
  readonly untilMs: number;
  readonly signal: AbortSignal;
  /** Ends patience, and no request that is under way; left out: `signal`. */
  readonly patience?: AbortSignal;
}

/** One method of Slack's Web API. @throws GatewayError APPROVAL_CHANNEL_FAILED, SECRET_UNAVAILABLE; or the signal's reason */
export type CallSlack = <T>(call: SlackCall, schema: z.ZodType<T>) => Promise<T>;

const replySchema = z.object({
  ok: z.boolean(),
  error: z.string().optional(),
  needed: z.string().optional(),
});

/**
 * Slack's own client would bring its retries and its queue, which know neither the question's expiry nor its signal, and no way to the
 * network of the gateway's.
 */
export function createSlackApi({ send, token, root }: SlackApiPorts): CallSlack {
  return async (call, schema) => {
    const { method, body, signal } = call;
    const headers = {
      authorization: `Bearer ${await token(signal)}`,
      "content-type": "application/json; charset=utf-8",
      "user-agent": "glovebox",
    };
    for (let pauses = 0; ; pauses += 1) {
      const url = new URL(method, root);
      const reply = await send({
        method: "POST",
        url,
        headers,
        body: JSON.stringify(body),
        timeoutMs: REQUEST_MS,
        signal,
      });
      if (reply.status !== 429) return read(reply, method, schema);
      const patienceMs = patienceOf(reply);
      if (pauses >= MAX_PAUSES || Date.now() + patienceMs >= call.untilMs) {
        throw failed(
          `asks for ${patienceMs / 1000} s of patience, which is more than there is: too much is asked of it`,
        );
      }
      await pause(patienceMs, undefined, { signal: call.patience ?? signal });
    }
  };
}

function read<T>(reply: Reply, method: string, schema: z.ZodType<T>): T {
  if (reply.status !== 200) throw failed(`answered ${reply.status} to ${method}`);
  const json = parseJson(reply.body.toString("utf8"));
  const answer = replySchema.safeParse(json);
  if (!answer.success) throw failed(`answered ${method} with something else than its API does`);
  if (!answer.data.ok) throw failed(problemOf(answer.data));
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw failed(`left out what ${method} answers with`);
  return parsed.data;
}

/** `Retry-After`, in ms; Slack gives whole seconds. */
function patienceOf({ headers }: Reply): number {
  const value = headers["retry-after"] ?? "";
  return (/^[0-9]{1,6}$/.test(value) ? Math.max(1, Number(value)) : 30) * 1000;
}

function problemOf({ error = "", needed = "" }: z.infer<typeof replySchema>): string {
  switch (error) {
    case "missing_scope": {
      const scope = /^[a-z:._,]{1,100}$/.test(needed) ? needed : "chat:write";
      return `says that the app lacks the scope \`${scope}\`: add it under "OAuth & Permissions" and install the app again`;
    }
    case "invalid_auth":
    case "not_authed":
    case "account_inactive":
    case "token_expired":
    case "token_revoked":
      return `does not accept the token (${error}): give the bot token, \`xoxb-…\`, of an installed app`;
    case "channel_not_found":
      return "does not know the channel: give its id (C…), and invite the app where it is private";
    case "not_in_channel":
      return "says that the app is not in the channel: write `/invite @<app>` there, or add the scope `chat:write.public`";
    case "is_archived":
      return "says that the channel is archived: give another one";
    default:
      return /^[a-z0-9_]{1,64}$/.test(error) ? `refused: ${error}` : "refused, and did not say why";
  }
}

function failed(problem: string): GatewayError {
  return new GatewayError("APPROVAL_CHANNEL_FAILED", `Slack ${problem}`);
}
