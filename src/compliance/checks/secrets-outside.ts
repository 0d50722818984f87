import type { Check } from "../check.ts";
import { eventOf, numberOf, textOf, textsOf } from "../facts.ts";

/** Sandboxes hold placeholders; the gateway puts the values in, on the way to where they belong. */
export const secretsOutside: Check = {
  id: "secrets-outside",
  of: "records",
  looksFor:
    "Credentials were put into requests outside of the sandbox, and placeholders on the way to somewhere else were refused.",
  start: (tally) => (record) => {
    const event = eventOf(record, "connection-closed", "placeholder-refused");
    if (!event) return;
    const { facts } = event;
    const where = `${textOf(facts, "host") ?? "unknown"}:${numberOf(facts, "port") ?? ""}`;
    if (event.event === "placeholder-refused") {
      return tally.finds("placeholders refused", `${where}: ${textOf(facts, "reason") ?? ""}`);
    }
    const names = textsOf(facts, "filledIn") ?? [];
    if (names.length > 0) tally.finds("connections with a credential filled in", `${names.join(", ")} for ${where}`);
    else tally.concerns("connections without");
  },
};
