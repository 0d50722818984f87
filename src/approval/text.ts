import { visible, visibleLines } from "../lib/visible.ts";
import type { Detail, Question } from "./approval.ts";

/** A question for a person, in plain text. Every line of what the agent chose is indented, so that none passes for one of ours. */
export function questionText(question: Question): string {
  const { principal, action, policies, details, pattern, expiresAt, sessionId } = question;
  return [
    `An agent asks to do something that needs a person's approval: ${visible(action)}.`,
    "",
    ...details.map(detailText),
    "",
    ...policies.map(
      ({ id, layer, reason }) =>
        `Asked by ${visible(id)}${layer ? ` (${layer})` : ""}${reason ? `: ${visible(reason)}` : ""}`,
    ),
    `For ${visible(principal.id)}, by ${visible(principal.client.name)} (so it says), in session ${visible(sessionId)}.`,
    ...(pattern === undefined ? [] : [`Allowing it for the session also allows: ${visible(pattern)}.`]),
    `Unanswered, it is denied at ${visible(expiresAt)}.`,
  ].join("\n");
}

function detailText({ label, text }: Detail): string {
  const [first = "", ...others] = visibleLines(text).split("\n");
  if (others.length === 0) return `  ${visible(label)}: ${first}`;
  return [`  ${visible(label)}:`, ...[first, ...others].map((it) => `    | ${it}`)].join("\n");
}
