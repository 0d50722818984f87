import type { Json } from "../../audit/record.ts";
import type { Check } from "../check.ts";
import { eventOf, factOf, listOf, textOf } from "../facts.ts";

/** What capabilities a gateway has is known, by digest. */
export const skillsPinned: Check = {
  id: "skills-pinned",
  of: "records",
  looksFor: "Gateways put on record which skills they loaded, by digest, and the skills were reviewed and locked.",
  start: (tally) => (record) => {
    const started = eventOf(record, "gateway-started");
    for (const skill of started ? (listOf(started.facts, "skills") ?? []) : []) {
      if (factOf(skill, "pinned") === true && textOf(skill, "digest") !== undefined) {
        tally.finds("loaded as locked", nameOf(skill));
        if ((listOf(skill, "signedBy") ?? []).length > 0) tally.concerns("of those, with a signed lock");
      } else tally.concerns("loaded without a lock");
    }
  },
};

function nameOf(skill: Json): string {
  return [textOf(skill, "name"), textOf(skill, "version"), textOf(skill, "digest")].join(" ");
}
