import type { Json } from "../../audit/record.ts";
import { BEFORE_REMOVED } from "../beginning.ts";
import type { Check } from "../check.ts";
import { eventOf, textOf } from "../facts.ts";

/** Questions are remembered so far back. */
const MAX_REMEMBERED = 10_000;
/** The agent's user is `local:…` and its client `client:…`: as approvers they are known by these channels only. */
const KNOWN_BY: ReadonlyMap<string, string> = new Map([
  ["local", "terminal"],
  ["client", "elicitation"],
]);

/** What policy leaves to a person was asked of one, and the answer is bound to the question. */
export const approvals: Check = {
  id: "approvals",
  of: "records",
  looksFor:
    "What policy left to a person ran only after an approval that is bound to the digest of the question and names who gave it, by a channel by which that person is known.",
  start: (tally) => {
    const asked = new Map<string, string>();
    let isCut: boolean | undefined;
    return (record) => {
      const { body } = record;
      // For all of the chain: an approval for a session outlives the gateway that asked.
      isCut ??= record.seq > 0;
      if (body.kind === "intent" && body.decision === "ask") tally.concerns("calls left to a person");
      const event = eventOf(record, "approval-requested", "approval-given");
      if (!event) return;
      const id = textOf(event.facts, "approvalId") ?? "";
      const digest = textOf(event.facts, "digest") ?? "";
      if (event.event === "approval-requested") {
        asked.set(id, digest);
        const [oldest] = asked.keys();
        if (asked.size > MAX_REMEMBERED && oldest !== undefined) asked.delete(oldest);
        return tally.concerns("questions put to a person");
      }
      const forgotten = asked.size === MAX_REMEMBERED ? digest : undefined;
      const question = asked.get(id) ?? forgotten;
      const wrong = wrongWith(event.facts, question ?? (isCut ? digest : undefined));
      const by = `${id} by ${textOf(event.facts, "approver") ?? "nobody"}`;
      if (wrong !== undefined)
        return tally.contradicts("approvals that are not bound to a person's answer", `${by}: ${wrong}`);
      if (question === undefined) return tally.concerns(BEFORE_REMOVED);
      const channel = textOf(event.facts, "channel") ?? "";
      return tally.finds(countOf(channel), `${by} through ${channel}, question ${digest}`);
    };
  },
};

function wrongWith(facts: Json, question: string | undefined): string | undefined {
  const approver = textOf(facts, "approver");
  const channel = textOf(facts, "channel");
  const digest = textOf(facts, "digest");
  if (approver === undefined || channel === undefined) return "it does not say who gave it, or how";
  const [kind = ""] = approver.split(":", 1);
  const known = KNOWN_BY.get(kind);
  if (known !== undefined && channel !== "grant" && channel !== known) return `${kind} is not known by ${channel}`;
  if (digest === undefined) return "it is bound to no question";
  if (question === undefined) return "nobody had been asked";
  // A grant is for calls like the one that was asked about: its digest is that one's.
  return channel === "grant" || question === digest ? undefined : "it is for another question";
}

function countOf(channel: string): string {
  if (channel === "elicitation") return "approved through the agent's own client";
  return channel === "grant"
    ? "allowed by an earlier approval for the session"
    : "approved outside of the agent's client";
}
