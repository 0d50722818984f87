import { visible } from "../lib/visible.ts";
import type { Logger } from "../log.ts";
import type { ChannelName } from "../policy/decision.ts";
import type { Answer, Channel, Question } from "./approval.ts";

/** How a question ended. */
export type Ending =
  | { readonly why: "answered"; readonly answer: Answer; readonly channel: ChannelName }
  | { readonly why: "expired" | "cancelled" | "unreachable" };

export interface ConsultPorts {
  readonly channels: readonly Channel[];
  readonly nowMs: () => number;
  readonly log: Logger;
  /** Puts an answer that does not count on record, before it is asked again. */
  readonly onRefused: (problem: string, answer: Answer, channel: ChannelName) => Promise<void>;
}

/** A question that is with all channels. */
export interface Consultation {
  /** Rejects only when `onRefused` does. */
  readonly ending: Promise<Ending>;
  /** Takes the question back wherever it still is, and says why. */
  close(reason: string): void;
}

/** A channel that gives more answers than this that do not count is not asked again. */
const MAX_REFUSED = 3;
const MAX_APPROVER_CHARS = 200;
/** Names of these kinds are given by one channel only, which knows them from the kernel, or from the connection. */
const NAMED_BY: Readonly<Record<string, ChannelName>> = { local: "terminal", client: "elicitation" };

/**
 * Puts a question to all channels at once. The first answer that counts ends it; one that does not is put on record, and the wait goes on.
 * It ends as well when `signal` aborts, at the question's expiry, and when no channel is left that could ask.
 */
export function consult(question: Question, ports: ConsultPorts, signal: AbortSignal): Consultation {
  const closing = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<Ending>();
  let open = true;
  const end = (ending: Ending) => {
    // INVARIANT: single use. What comes after the first that counts is refused.
    if (!open) return;
    open = false;
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    resolve(ending);
  };
  const onAbort = () => end({ why: "cancelled" });
  const timer = setTimeout(() => end({ why: "expired" }), Date.parse(question.expiresAt) - ports.nowMs());
  signal.addEventListener("abort", onAbort, { once: true });
  const ask = async (channel: Channel): Promise<void> => {
    for (let refused = 0; refused < MAX_REFUSED && open; refused++) {
      const answer = await answerOf(channel, question, closing.signal, ports.log);
      if (answer === undefined) return;
      const problem = open
        ? problemOf(answer, question, channel.name, ports.nowMs())
        : "the question was closed already";
      if (problem === undefined) return end({ why: "answered", answer, channel: channel.name });
      await ports.onRefused(problem, answer, channel.name);
    }
  };
  if (signal.aborted) onAbort();
  Promise.all(ports.channels.map(ask)).then(
    () => end({ why: "unreachable" }),
    (error: unknown) => {
      if (!open) ports.log.error({ err: error, approvalId: question.id }, "a late answer was not put on record");
      open = false;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      reject(error);
    },
  );
  return { ending: promise, close: (reason) => closing.abort(new Error(reason)) };
}

/** A channel that fails has asked nobody. */
async function answerOf(channel: Channel, question: Question, signal: AbortSignal, log: Logger) {
  try {
    return await channel.ask(question, signal);
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error, channel: channel.name, approvalId: question.id }, "could not ask");
    return undefined;
  }
}

/** Why an answer does not count; `undefined` when it does. Channels are believed on who answers, and on nothing else. */
function problemOf(answer: Answer, question: Question, channel: ChannelName, nowMs: number): string | undefined {
  const { questionId, digest, verdict, approver } = answer;
  if (questionId !== question.id) return "it is for another question";
  if (digest !== question.digest) return "it is not for what was asked: the digest differs";
  if (nowMs >= Date.parse(question.expiresAt)) return "the question had expired";
  if (verdict !== "allow" && verdict !== "deny") return "it neither allows nor denies";
  const [, kind = ""] = /^([a-z]+):[^\s]/.exec(approver) ?? [];
  if (kind === "" || approver.length > MAX_APPROVER_CHARS || visible(approver) !== approver)
    return "it does not say who gives it";
  const by = Object.hasOwn(NAMED_BY, kind) ? NAMED_BY[kind] : channel;
  // The agent acts as `local:…` or `client:…`: nobody passes its name off as an approver's by another way.
  if (by !== channel) return "whoever gives it can't be known by this channel";
  return undefined;
}
