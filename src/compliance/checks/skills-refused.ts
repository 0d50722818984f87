import type { Check } from "../check.ts";
import { eventOf, listOf, textOf, textsOf } from "../facts.ts";

/** A skill that was changed since its review is not used. */
export const skillsRefused: Check = {
  id: "skills-refused",
  of: "records",
  looksFor: "Skills that are not as they were locked, or not valid, were refused.",
  start: (tally) => (record) => {
    const started = eventOf(record, "gateway-started");
    if (started) tally.concerns("skills loaded", (listOf(started.facts, "skills") ?? []).length);
    const refused = eventOf(record, "skill-refused");
    if (!refused) return;
    const { facts } = refused;
    const what = textOf(facts, "skill") ?? textOf(facts, "directory") ?? "a skill";
    tally.finds("refused", `${what}: ${(textsOf(facts, "why") ?? []).join("; ")}`);
  },
};
