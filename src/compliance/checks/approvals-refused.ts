import { settles } from "../../audit/calls.ts";
import type { Check } from "../check.ts";
import { codeOf, eventOf, textOf } from "../facts.ts";

/** A person who does not answer has not allowed it. */
export const approvalsRefused: Check = {
  id: "approvals-refused",
  of: "records",
  looksFor: "Questions that were denied, ran out of time or reached nobody are on record as refused.",
  start: (tally) => (record) => {
    if (eventOf(record, "approval-requested")) return tally.concerns("questions put to a person");
    const refused = eventOf(record, "approval-refused");
    if (!refused) return;
    // The question stayed open: what became of it is in another record.
    if (!settles(refused)) return tally.concerns("answers that did not count");
    const { facts, callId } = refused;
    const why = codeOf(facts, "why");
    const who = textOf(facts, "approver");
    const by = who === undefined ? "" : ` by ${who}`;
    tally.finds(`refused: ${why}`, `${callId ?? textOf(facts, "action") ?? "a question"}: ${why}${by}`);
  },
};
