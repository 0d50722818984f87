import type { Check } from "../check.ts";
import { codeOf, eventOf, factOf, textOf, textsOf } from "../facts.ts";
import { inspectionOf } from "./confinement.ts";

/** What a sandbox was when it was opened may not be what it is an hour later. */
export const sessionsInspected: Check = {
  id: "sessions-inspected",
  of: "records",
  looksFor:
    "Sessions were inspected from outside of their container while they ran, and were confined as they had been made.",
  start: (tally) => (record) => {
    const told = eventOf(record, "session-opened", "session-inspected", "session-lost");
    if (!told) return;
    if (told.event === "session-opened") return tally.concerns("sessions opened");
    const { sessionId = "a session", facts } = told;
    if (told.event === "session-lost") {
      if (codeOf(facts, "code") !== "ISOLATION_BELOW_FLOOR") return;
      return tally.contradicts("sessions that were ended for it", `${sessionId}: ${textOf(facts, "message") ?? ""}`);
    }
    const weaker = textsOf(facts, "weaker");
    if (weaker?.[0] !== undefined) {
      tally.contradicts("sessions that were confined less", `${sessionId}: ${weaker.join("; ")}`);
    } else if (!inspectionOf(facts) || weaker === undefined) {
      tally.concerns(`not inspected: ${codeOf(facts, "state")}`);
    } else {
      const engine = textOf(factOf(facts, "engine"), "version") ?? "of no known version";
      tally.finds("sessions that were confined as they were made", `${sessionId}: asked its Docker Engine ${engine}`);
    }
  },
};
