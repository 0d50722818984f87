import type { Check } from "../check.ts";
import { eventOf, textOf } from "../facts.ts";

/** Which image a container was made from, to the byte. */
export const agentImage: Check = {
  id: "agent-image",
  of: "records",
  looksFor: "Sessions name the digest of the image that their sandbox was made from.",
  start: (tally) => (record) => {
    const opened = eventOf(record, "session-opened");
    if (!opened) return;
    const digest = textOf(opened.facts, "image");
    if (digest === undefined) tally.concerns("sessions that do not name it");
    else tally.finds("sessions that name it", `${opened.sessionId ?? ""}: ${digest}`);
  },
};
