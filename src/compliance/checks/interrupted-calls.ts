import { followCalls } from "../calls.ts";
import type { Check } from "../check.ts";
import { eventOf } from "../facts.ts";

/** A gateway's death leaves no call without an end on record. */
export const interruptedCalls: Check = {
  id: "interrupted-calls",
  of: "records",
  looksFor:
    "Calls that were running when a gateway died have the outcome `interrupted`, before the next gateway began.",
  start: (tally) => {
    const calls = followCalls();
    return (record) => {
      const ended = calls.see(record);
      if (ended?.status === "interrupted") tally.finds("recorded as interrupted", `${ended.callId}: ${ended.tool}`);
      else if (ended) tally.concerns("ended by themselves");
      if (eventOf(record, "log-recovered")) tally.finds("half a record set aside", "the end of the log was repaired");
      if (!eventOf(record, "gateway-started") || calls.open.size === 0) return;
      tally.contradicts(
        "left without an outcome",
        `${calls.open.size} calls had no outcome when another gateway began`,
      );
    };
  },
};
