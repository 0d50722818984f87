import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import type { Logger } from "../log.ts";
import type { Answer, Channel, Question } from "./approval.ts";
import { createErrands, howItEnded } from "./errands.ts";
import type { SlackSettings } from "./settings.ts";
import type { CallSlack, SlackCall } from "./slack-api.ts";
import { type Click, readClick } from "./slack-click.ts";
import { type Door, openSlackDoor } from "./slack-door.ts";
import { type Action, type Ending, endedMessage, questionMessage } from "./slack-message.ts";

/** How long Slack may take to be told how a question ended, in ms; it asks for patience in whole seconds. */
const ERRAND_MS = 20_000;

export interface SlackPorts {
  readonly call: CallSlack;
  /** With which Slack signs. @throws GatewayError SECRET_UNAVAILABLE */
  readonly signingSecret: (signal: AbortSignal) => Promise<string>;
  readonly log: Pick<Logger, "warn" | "debug">;
}

export interface SlackChannel extends Channel, AsyncDisposable {
  /** Opens the door for answers, once; each question tries again. @throws GatewayError APPROVAL_CHANNEL_FAILED */
  open(): Promise<Door>;
}

interface Posted {
  readonly channel: string;
  readonly ts: string;
}

interface Open {
  readonly question: Question;
  readonly offers: readonly Action[];
  /** A click may be here before Slack has said where the message is. */
  readonly posted: Promise<Posted>;
  readonly answer: (answer: Answer) => void;
}

const postedSchema = z.object({ channel: z.string(), ts: z.string() });
const id = z.string().regex(/^[A-Z0-9]{3,32}$/);
const identitySchema = z.object({ team_id: id, user_id: id });
const anySchema = z.object({});

/**
 * Asks in a channel of Slack's with a message that has buttons; clicks come in by the door. The first that counts is the answer; the
 * message then says whose it was, or how else the question ended. An aborted question resolves with `undefined`.
 */
export function createSlack(settings: SlackSettings, { call, signingSecret, log }: SlackPorts): SlackChannel {
  const open = new Map<string, Open>();
  const errands = createErrands(ERRAND_MS);
  let door: Promise<Door> | undefined;
  let key: string | undefined;
  let identity: z.infer<typeof identitySchema> | undefined;

  function openDoor(): Promise<Door> {
    const opening = door ?? openSlackDoor({ ...settings.listen, key: () => key, onPayload, log });
    door = opening;
    // The port may be free later.
    opening.catch(() => {
      if (door === opening) door = undefined;
    });
    return opening;
  }

  async function ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    if (signal.aborted) return undefined;
    const untilMs = Date.parse(question.expiresAt);
    try {
      await openDoor();
      key = await signingSecret(signal);
      identity ??= await whoAmI({ untilMs, signal });
      return await abortable(answerTo(question, signal), signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  async function whoAmI(limits: Pick<SlackCall, "untilMs" | "signal">) {
    const found = await call({ method: "auth.test", body: {}, ...limits }, identitySchema);
    if (settings.team === undefined || settings.team === found.team_id) return found;
    throw new GatewayError(
      "APPROVAL_CHANNEL_FAILED",
      `Slack: the token is of the workspace ${found.team_id}, and \`team\` says ${settings.team}`,
    );
  }

  async function answerTo(question: Question, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const { text, blocks, offers } = questionMessage(question);
    const answered = Promise.withResolvers<Answer>();
    const body = { channel: settings.channel, text, blocks, unfurl_links: false, unfurl_media: false };
    // A request that is under way is not given up with the question: nobody would know where its message is, to take the buttons away.
    const limits = { untilMs: Date.parse(question.expiresAt), signal: errands.gone, patience: signal };
    const posted = call({ method: "chat.postMessage", body, ...limits }, postedSchema);
    open.set(question.id, { question, offers, posted, answer: answered.resolve });
    const onAbort = () => take(question, { how: howItEnded(signal) });
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await posted;
      return await answered.promise;
    } catch (error) {
      open.delete(question.id);
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends a question, if that wasn't done before, and says so where it was put. */
  function take({ id }: Question, ending: Ending): boolean {
    const found = open.get(id);
    if (!found) return false;
    open.delete(id);
    errands.run(
      async (signal) => {
        // Why it could not be put is what the question was told.
        const posted = await found.posted.catch(() => undefined);
        if (!posted) return;
        const { channel, ts } = posted;
        const body = { channel, ts, ...endedMessage(found.question, ending) };
        await call({ method: "chat.update", body, untilMs: Date.now() + ERRAND_MS, signal }, anySchema);
      },
      (error) => log.warn({ err: error, question: id }, "a message in Slack still has its buttons"),
    );
    return true;
  }

  function onPayload(payload: unknown): void {
    const click = readClick(payload);
    const facts = click && { user: click.user.id, question: click.questionId };
    const weighing = click ? onClick(click) : Promise.resolve("it is none on a button of the gateway's");
    const told = weighing.then(
      (problem) => problem && log.warn(facts, `a click in Slack did not count: ${problem}`),
      (error: unknown) => log.warn({ ...facts, err: error }, "a click in Slack did not count"),
    );
    void errands.hold(told);
  }

  /** Why it doesn't count; `undefined`: it does. */
  async function onClick(click: Click): Promise<string | undefined> {
    const { user } = click;
    if (!identity || click.team !== identity.team_id) return "it is from another workspace";
    if (click.channel !== settings.channel) return "it is from another channel";
    if (user.isBot || user.id === identity.user_id) return "a program did it";
    const found = open.get(click.questionId);
    if (!found) return tell(user.id, "This question is no longer open.", "its question is not open");
    const { question, offers, posted, answer } = found;
    if (click.digest !== question.digest) return "it has another digest than the question";
    if (!offers.includes(click.action)) return "its button was not offered";
    const { channel, ts } = await posted;
    if (click.channel !== channel || click.ts !== ts) return "it is on another message than the question's";
    if (!mayAnswer(user)) {
      return tell(user.id, "You are not among those who may answer this.", "its user is no approver");
    }
    if (!take(question, { action: click.action, user: user.id })) return "the question ended meanwhile";
    answer({
      questionId: question.id,
      digest: question.digest,
      verdict: click.action === "glovebox_deny" ? "deny" : "allow",
      scope: click.action === "glovebox_allow_session" ? "session" : "call",
      approver: user.name === undefined ? `slack:${user.id}` : `slack:${user.id} (${user.name})`,
    });
    return undefined;
  }

  /** A guest from another workspace, who may be in a shared channel, is an approver only by name. */
  function mayAnswer({ id, team }: Click["user"]): boolean {
    return settings.approvers ? settings.approvers.includes(id) : team === identity?.team_id;
  }

  /** Says why nothing happened, to the one who clicked. */
  function tell(user: string, text: string, problem: string): string {
    const body = { channel: settings.channel, user, text };
    errands.run(
      (signal) => call({ method: "chat.postEphemeral", body, untilMs: Date.now() + ERRAND_MS, signal }, anySchema),
      (error) => log.debug({ err: error }, "whoever clicked was not told why nothing happened"),
    );
    return problem;
  }

  return {
    name: "slack",
    open: openDoor,
    ask: (question, signal) => errands.hold(ask(question, AbortSignal.any([signal, errands.closing]))),
    async [Symbol.asyncDispose]() {
      await (await door?.catch(() => undefined))?.[Symbol.asyncDispose]();
      await errands[Symbol.asyncDispose]();
    },
  };
}
