import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { GatewayError } from "../errors.ts";
import type { Reply, SendOutbound } from "../lib/outbound.ts";
import { readWebhookKey, signWebhook, WEBHOOK_KEY_WANTED, webhookProblem } from "../lib/webhook-signature.ts";
import type { Logger } from "../log.ts";
import type { Answer, Channel, Question } from "./approval.ts";
import { createErrands, howItEnded } from "./errands.ts";
import type { WebhookSettings } from "./settings.ts";
import { closedMessage, readAnswer, readPoll, requestedMessage } from "./webhook-message.ts";

/** A receiver may hold a request open for a while before it says that there is no answer yet. */
const REQUEST_MS = 30_000;
const CLOSED_MS = 10_000;
/** Failures one after the other, so many of which are more than a receiver that restarts. */
const MAX_FAILURES = 5;

export interface WebhookPorts {
  readonly send: SendOutbound;
  /** `whsec_…`. @throws GatewayError SECRET_UNAVAILABLE */
  readonly secret: (signal: AbortSignal) => Promise<string>;
  readonly log: Pick<Logger, "warn">;
}

interface Message {
  readonly id: string;
  readonly url: URL;
  /** Left out: it is asked for an answer. */
  readonly body?: string;
}

/**
 * Asks a receiver over HTTPS: it answers at once, or names an address of its own that is asked until it does. Only what it has signed
 * counts. An aborted question resolves with `undefined`, and the receiver is told.
 */
export function createWebhook(settings: WebhookSettings, { send, secret, log }: WebhookPorts) {
  const url = new URL(settings.url);
  const errands = createErrands(CLOSED_MS);
  const failed = (problem: string) =>
    new GatewayError("APPROVAL_CHANNEL_FAILED", `the webhook at \`${url.host}\` ${problem}`);

  async function ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    try {
      signal.throwIfAborted();
      const key = keyIn(await secret(signal));
      return await answerTo(question, key, signal).catch((error: unknown) => {
        tellClosed(question, key, signal.aborted ? howItEnded(signal) : "it could not be asked");
        throw error;
      });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  async function answerTo(question: Question, key: Buffer, signal: AbortSignal): Promise<Answer | undefined> {
    // A question that is sent again keeps its id, so that the receiver can tell.
    let next: Message = { id: `msg_${question.id}`, url, body: requestedMessage(question) };
    for (let failures = 0; ; await pause(settings.pollSeconds * 1000, undefined, { signal })) {
      const reply = await tried(exchange(next, key, signal), signal);
      if (reply instanceof GatewayError) {
        failures += 1;
        if (failures >= MAX_FAILURES) throw reply;
        continue;
      }
      if (reply.status === 204) return undefined;
      if (reply.status === 200) return signedAnswer(reply, question, key);
      failures = 0;
      const poll = next.body === undefined ? next.url : readPoll(reply.body, url);
      if (!poll) throw failed("answered 202 without `poll`, an address at its own origin");
      next = { id: newMessageId(), url: poll };
    }
  }

  /** 200, 202 or 204; what may pass is handed back: no connection, a server's own trouble. */
  async function tried(sending: Promise<Reply>, signal: AbortSignal): Promise<Reply | GatewayError> {
    const reply = await sending.catch((error: unknown) => {
      if (signal.aborted || !(error instanceof GatewayError)) throw error;
      return error;
    });
    if (reply instanceof GatewayError || [200, 202, 204].includes(reply.status)) return reply;
    const { status } = reply;
    if (status === 408 || status === 429 || status >= 500) return failed(`answered ${status} again and again`);
    if (status < 300 || status >= 400) throw failed(`answered ${status}`);
    throw failed(`answered ${status}: redirects are not followed, so \`url\` must be the last address`);
  }

  function exchange({ id, url: to, body }: Message, key: Buffer, signal: AbortSignal): Promise<Reply> {
    const headers = {
      ...(body !== undefined && { "content-type": "application/json" }),
      "user-agent": "glovebox",
      ...signWebhook(key, id, body ?? ""),
    };
    const method = body === undefined ? "GET" : "POST";
    return send({ method, url: to, headers, body: body ?? "", timeoutMs: REQUEST_MS, signal });
  }

  function signedAnswer(reply: Reply, question: Question, key: Buffer): Answer {
    const problem = webhookProblem(key, reply.headers, reply.body);
    if (problem) throw failed(`answered, but its answer ${problem}`);
    const answer = readAnswer(reply.body, question);
    if ("problem" in answer) throw failed(`answered, but its answer ${answer.problem}`);
    return answer;
  }

  function tellClosed(question: Question, key: Buffer, how: string): void {
    const message = { id: newMessageId(), url, body: closedMessage(question, how) };
    errands.run(
      (limit) => exchange(message, key, limit),
      (error) => log.warn({ err: error, question: question.id }, "a webhook was not told that a question is closed"),
    );
  }

  const channel: Channel & AsyncDisposable = {
    name: "webhook",
    ask: (question, signal) => errands.hold(ask(question, AbortSignal.any([signal, errands.closing]))),
    [Symbol.asyncDispose]: () => errands[Symbol.asyncDispose](),
  };
  return channel;
}

/** @throws GatewayError APPROVAL_CHANNEL_FAILED, without any part of the secret */
function keyIn(secret: string): Buffer {
  const key = readWebhookKey(secret);
  if (key) return key;
  throw new GatewayError("APPROVAL_CHANNEL_FAILED", `the webhook's secret ${WEBHOOK_KEY_WANTED}`);
}

function newMessageId(): string {
  return `msg_${randomUUID()}`;
}
