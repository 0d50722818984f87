import type { Check } from "../check.ts";
import { eventOf, textOf } from "../facts.ts";

/** Too young, denied, malicious, not as promised: it did not enter. */
export const packagesRefused: Check = {
  id: "packages-refused",
  of: "records",
  looksFor: "Packages that may not enter sandboxes were refused, with the reason.",
  start: (tally) => (record) => {
    const event = eventOf(record, "package-admitted", "package-refused");
    if (!event) return;
    if (event.event === "package-admitted") return tally.concerns("files admitted");
    const { facts } = event;
    const name = [textOf(facts, "ecosystem"), textOf(facts, "name"), textOf(facts, "version")];
    const what = name.filter((it) => it !== undefined).join(" ");
    tally.finds("refused", `${what}: ${textOf(facts, "reason") ?? ""}`);
  },
};
