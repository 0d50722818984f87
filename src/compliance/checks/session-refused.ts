import type { Check } from "../check.ts";
import { codeOf, eventOf, textOf } from "../facts.ts";

/** A sandbox that is isolated less than it must be is not used. */
export const sessionRefused: Check = {
  id: "session-refused",
  of: "records",
  looksFor: "Sandboxes that did not attest the isolation that their profile demands were refused.",
  start: (tally) => (record) => {
    if (eventOf(record, "session-opened")) return tally.concerns("sessions opened");
    const refused = eventOf(record, "session-refused");
    if (!refused) return;
    const code = codeOf(refused.facts, "code");
    if (code !== "ISOLATION_BELOW_FLOOR") return tally.concerns(`refused: ${code}`);
    tally.finds(`refused: ${code}`, `${refused.sessionId ?? ""}: ${textOf(refused.facts, "message") ?? code}`);
  },
};
