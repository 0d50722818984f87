import { BEFORE_REMOVED } from "../beginning.ts";
import { followCalls } from "../calls.ts";
import type { Check } from "../check.ts";

/** Nothing ran that had not been decided, on record, before. */
export const callIntents: Check = {
  id: "call-intents",
  of: "records",
  looksFor: "Each call that ran has, before its outcome, an intent whose decision or whose approval lets it run.",
  start: (tally) => {
    const calls = followCalls();
    return (record) => {
      const ended = calls.see(record);
      if (!ended) return;
      const { callId, tool, status, by, decision } = ended;
      if (by === "policy") tally.finds("let run by policy", `${callId}: ${tool}, ended ${status}`);
      else if (by === "person") tally.finds("let run by a person", `${callId}: ${tool}, ended ${status}`);
      else if (by === "removed") tally.concerns(BEFORE_REMOVED);
      else if (decision === undefined) {
        tally.contradicts("ended without an intent", `${callId} has an outcome and no intent that is open`);
      } else {
        tally.contradicts(
          "ran without permission",
          `${callId}: ${tool} was decided \`${decision}\` and has an outcome`,
        );
      }
    };
  },
};
