import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { Answer, Channel, Question } from "./approval.ts";
import { questionText } from "./text.ts";

/** A form for the person at the client, in the words of MCP's `elicitation/create`. */
export interface Form {
  readonly message: string;
  readonly requestedSchema: {
    readonly type: "object";
    readonly properties: Readonly<Record<string, Field>>;
    readonly required: readonly string[];
  };
}

interface Field {
  readonly type: "string";
  readonly title: string;
  readonly enum?: readonly string[];
  readonly maxLength?: number;
}

/** Shows a form and waits for it; what comes back is whatever the client sends. `undefined` when this client can't show forms. */
export type Elicit = (
  form: Form,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
) => Promise<unknown> | undefined;

export interface Elicitation {
  readonly channel: Channel;
  /** The client that is connected, until disposed of. */
  attach(elicit: Elicit): Disposable;
}

const ALLOW_ONCE = "allow once";
const ALLOW_SESSION = "allow this pattern for the session";
const DENY = "deny";
const MAX_COMMENT_CHARS = 500;

/** Loose where clients differ (`_meta`, no content), strict in what is taken as a yes. */
const resultSchema = z.object({
  action: z.enum(["accept", "decline", "cancel"]),
  content: z.object({ decision: z.string(), comment: z.string().max(MAX_COMMENT_CHARS).optional() }).nullish(),
});

/**
 * Asks the user of the connected MCP client by a form (MCP 2025-11-25, "Elicitation"). Its answer is as good as the client: one that fills in
 * forms by itself, or lets its model do so, approves for its user. Policies that must not rest on that name other channels.
 */
export function createElicitation(nowMs: () => number): Elicitation {
  let current: Elicit | undefined;
  return {
    channel: { name: "elicitation", ask: (question, signal) => ask(question, signal, { elicit: current, nowMs }) },
    attach: (elicit) => {
      current = elicit;
      return {
        [Symbol.dispose]: () => {
          if (current === elicit) current = undefined;
        },
      };
    },
  };
}

async function ask(
  question: Question,
  signal: AbortSignal,
  { elicit, nowMs }: { readonly elicit: Elicit | undefined; readonly nowMs: () => number },
): Promise<Answer | undefined> {
  const timeoutMs = Math.max(1, Date.parse(question.expiresAt) - nowMs());
  const asked = elicit?.(formOf(question), { signal, timeoutMs });
  if (asked === undefined) return undefined;
  const parsed = resultSchema.safeParse(await answered(asked, signal));
  if (!parsed.success) throw new GatewayError("APPROVAL_CHANNEL_FAILED", "the client's answer can't be understood");
  const { action, content } = parsed.data;
  if (action === "cancel") return undefined;
  const verdict =
    action === "decline"
      ? { verdict: "deny" as const, scope: "call" as const }
      : verdictOf(content?.decision, question);
  const { id: questionId, digest, principal } = question;
  const comment = content?.comment;
  return { questionId, digest, ...verdict, approver: `client:${principal.id}`, ...(comment ? { comment } : {}) };
}

function formOf(question: Question): Form {
  const choices = [ALLOW_ONCE, ...(question.pattern === undefined ? [] : [ALLOW_SESSION]), DENY];
  return {
    message: questionText(question),
    requestedSchema: {
      type: "object",
      properties: {
        decision: { type: "string", title: "Your decision", enum: choices },
        comment: { type: "string", title: "Comment", maxLength: MAX_COMMENT_CHARS },
      },
      required: ["decision"],
    },
  };
}

/** @throws GatewayError APPROVAL_CHANNEL_FAILED for what was not to choose from: a yes has to be one of ours, to the letter */
function verdictOf(decision: string | undefined, { pattern }: Question): Pick<Answer, "verdict" | "scope"> {
  if (decision === ALLOW_ONCE) return { verdict: "allow", scope: "call" };
  if (decision === ALLOW_SESSION && pattern !== undefined) return { verdict: "allow", scope: "session" };
  if (decision === DENY) return { verdict: "deny", scope: "call" };
  throw new GatewayError("APPROVAL_CHANNEL_FAILED", "the client's answer is none of those that were to choose from");
}

/** @throws GatewayError APPROVAL_CHANNEL_FAILED; what the client says of its failure is for the log only */
async function answered(asked: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  try {
    return await asked;
  } catch (error) {
    const what = signal.aborted ? "the form was taken back" : "the client did not show the form to its user";
    throw new GatewayError("APPROVAL_CHANNEL_FAILED", what, { cause: error });
  }
}
