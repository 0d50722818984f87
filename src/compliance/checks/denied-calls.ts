import { followCalls } from "../calls.ts";
import type { Check } from "../check.ts";
import { eventOf, textsOf } from "../facts.ts";

/** What happens inside a sandbox names the calls that may have caused it. */
const CAUSED = ["connection-opened", "package-admitted"] as const;

/** What policy denied did not run. */
export const deniedCalls: Check = {
  id: "denied-calls",
  of: "records",
  looksFor:
    "Calls that policy denied are on record with the decision, and nothing in the log is the work of one of them.",
  start: (tally) => {
    const calls = followCalls();
    return (record) => {
      const { body } = record;
      const ended = calls.see(record);
      if (ended?.decision === "deny") {
        tally.contradicts("denied and ran", `${ended.callId}: ${ended.tool} was denied and has an outcome`);
      }
      if (body.kind === "intent") {
        const { decision, callId, tool, policies } = body;
        if (decision !== "deny") tally.concerns("other decisions");
        else
          tally.finds("denied", `${callId}: ${tool} denied by ${policies.map((it) => it.id).join(", ") || "default"}`);
      }
      const caused = eventOf(record, ...CAUSED);
      for (const callId of caused ? (textsOf(caused.facts, "calls") ?? []) : []) {
        if (calls.refused(callId) !== "deny") continue;
        tally.contradicts("denied and at work", `${callId} was denied, and ${caused?.event} names it as running`);
      }
    };
  },
};
