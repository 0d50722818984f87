import { followCalls } from "../calls.ts";
import type { Check } from "../check.ts";

/** What does not fit a tool's schema goes no further. */
export const invalidCalls: Check = {
  id: "invalid-calls",
  of: "records",
  looksFor: "Calls whose arguments do not fit the tool's schema were refused before policy was asked, and did not run.",
  start: (tally) => {
    const calls = followCalls();
    return (record) => {
      const { body } = record;
      const ended = calls.see(record);
      if (ended?.decision === "invalid") {
        tally.contradicts(
          "invalid and ran",
          `${ended.callId}: ${ended.tool} did not fit its schema and has an outcome`,
        );
      }
      if (body.kind !== "intent") return;
      if (body.decision !== "invalid") tally.concerns("arguments that fit");
      else tally.finds("refused", `${body.callId}: ${body.tool}: ${body.problems.join("; ")}`);
    };
  },
};
