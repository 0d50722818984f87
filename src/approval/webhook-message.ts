import { z } from "zod";
import { parseJson } from "../lib/json.ts";
import { printable } from "../lib/text.ts";
import type { Answer, Question } from "./approval.ts";

/** Of the messages below. A receiver refuses one that it doesn't know. */
const VERSION = 1;

/** `{type, timestamp, data}`, as Standard Webhooks advises. */
export function requestedMessage(question: Question): string {
  return message("approval.requested", { question });
}

export function closedMessage({ id }: Question, how: string): string {
  return message("approval.closed", { questionId: id, how });
}

function message(type: string, data: object): string {
  return JSON.stringify({ type, timestamp: new Date().toISOString(), data: { version: VERSION, ...data } });
}

const answerSchema = z.strictObject({
  questionId: z.string().max(128),
  digest: z.string().max(128),
  verdict: z.enum(["allow", "deny"]),
  scope: z.enum(["call", "session"]),
  /** Who, in the receiver's words: a name or an address. */
  approver: z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N} @._+-]{0,127}$/u),
  comment: z.string().max(1_000).optional(),
});

/** The answer in a body, to this question and no other; or what is wrong with it, in words that hold nothing of it. */
export function readAnswer(body: Buffer, question: Question): Answer | { readonly problem: string } {
  const parsed = answerSchema.safeParse(parseJson(body.toString("utf8")));
  if (!parsed.success) {
    const places = [...new Set(parsed.error.issues.map(({ path }) => path.join(".")).filter((it) => it !== ""))];
    return {
      problem: `is not an answer as docs/approvals-channels.md has it${places.map((it) => `, see \`${it}\``).join("")}`,
    };
  }
  const { approver, comment, ...rest } = parsed.data;
  if (rest.questionId !== question.id) return { problem: "answers another question" };
  if (rest.digest !== question.digest) return { problem: "has another digest than the question" };
  if (rest.scope === "session" && question.pattern === undefined) return { problem: "gives what was not offered" };
  return {
    ...rest,
    approver: `webhook:${approver}`,
    ...(comment === undefined ? {} : { comment: printable(comment, 1_000) }),
  };
}

const pollSchema = z.strictObject({ poll: z.string().max(2048) });

/** Where an answer is to be had later: an address at the origin that was asked, and no other. */
export function readPoll(body: Buffer, asked: URL): URL | undefined {
  const parsed = pollSchema.safeParse(parseJson(body.toString("utf8")));
  const url = parsed.success ? URL.parse(parsed.data.poll, asked.href) : null;
  const isOwn = url?.origin === asked.origin && `${url.username}${url.password}` === "";
  return url && isOwn ? url : undefined;
}
