import type { Check } from "../check.ts";
import { eventOf, numberOf, textOf } from "../facts.ts";

/** What may not leave did not. */
export const egressRefused: Check = {
  id: "egress-refused",
  of: "records",
  looksFor: "Connections that nothing grants were refused, and the refusals are on record.",
  start: (tally) => (record) => {
    const event = eventOf(record, "connection-opened", "connection-refused");
    if (!event) return;
    if (event.event === "connection-opened") return tally.concerns("connections opened");
    const { facts } = event;
    const before = numberOf(facts, "unrecordedBefore") ?? 0;
    if (before > 0) tally.concerns("refusals that were only counted", before);
    const host = textOf(facts, "host");
    if (host === undefined) return;
    tally.finds("refused", `${host}:${numberOf(facts, "port") ?? ""}: ${textOf(facts, "reason") ?? ""}`);
  },
};
