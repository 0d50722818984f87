import type { Check } from "../check.ts";
import { codeOf, eventOf, textOf } from "../facts.ts";

/** Sandboxes are taken down, and what dead gateways leave is removed. */
export const sessionsEnded: Check = {
  id: "sessions-ended",
  of: "records",
  looksFor: "Sessions that ended are on record with why: closed, lost, or removed after their gateway had died.",
  start: (tally) => (record) => {
    const event = eventOf(record, "session-opened", "session-closed", "session-lost", "reconciled");
    if (!event) return;
    const { facts, sessionId = "" } = event;
    if (event.event === "session-opened") tally.concerns("sessions opened");
    else if (event.event === "session-closed") tally.finds("closed", `${sessionId}: ${textOf(facts, "why") ?? ""}`);
    else if (event.event === "session-lost") {
      const code = codeOf(facts, "code");
      // What went wrong there is `sessions-inspected` to say.
      if (code === "ISOLATION_BELOW_FLOOR") tally.concerns("lost: confined less than they were made");
      else tally.finds("lost", `${sessionId}: ${code}`);
    } else tally.finds("leftovers of dead gateways removed", "what dead gateways had left behind was removed");
  },
};
