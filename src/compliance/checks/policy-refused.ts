import type { Check } from "../check.ts";
import { codeOf, eventOf, textOf } from "../facts.ts";

/** Invalid, unsigned, wrongly signed or older than the last one: not put into force. */
export const policyRefused: Check = {
  id: "policy-refused",
  of: "records",
  looksFor:
    "Policies that are not valid, not signed as demanded, or older than the one before were refused, and the refusal is on record.",
  start: (tally) => (record) => {
    const rejected = eventOf(record, "policy-rejected");
    if (rejected) {
      const code = codeOf(rejected.facts, "code");
      tally.finds(code, `${code}: ${textOf(rejected.facts, "message") ?? ""}`);
    } else if (eventOf(record, "gateway-started", "policy-loaded")) tally.concerns("put into force");
  },
};
