import { BEFORE_REMOVED, followBeginning } from "../beginning.ts";
import type { Check } from "../check.ts";
import { eventOf, numberOf, textOf, textsOf } from "../facts.ts";

const MAX_OPEN = 100_000;

/** What left did so by a grant, and was on record first. */
export const egressGranted: Check = {
  id: "egress-granted",
  of: "records",
  looksFor:
    "Connections out of sandboxes were opened by policies, or approvals, that the record names, before a byte left.",
  start: (tally) => {
    const open = new Set<string>();
    const mayHaveBegunBefore = followBeginning();
    let isFull = false;
    return (record) => {
      const isCut = mayHaveBegunBefore(record);
      // They end with their gateway, without a record where it died.
      if (eventOf(record, "gateway-started")) open.clear();
      const event = eventOf(record, "connection-opened", "connection-closed");
      if (!event) return;
      const { facts } = event;
      const id = textOf(facts, "connectionId") ?? "";
      const where = `${textOf(facts, "host") ?? "unknown"}:${numberOf(facts, "port") ?? ""}`;
      if (event.event === "connection-closed") {
        if (open.delete(id) || isFull) return;
        if (isCut) return tally.concerns(BEFORE_REMOVED);
        return tally.contradicts("closed and never opened", `${id} to ${where}`);
      }
      isFull ||= open.size === MAX_OPEN;
      if (!isFull) open.add(id);
      const policies = textsOf(facts, "policies") ?? [];
      const approval = textOf(facts, "approvalId");
      if (policies.length === 0 && approval === undefined) {
        tally.contradicts("opened without a policy", `${id} to ${where} names neither policy nor approval`);
      } else if (approval !== undefined)
        tally.finds("opened by a person's approval", `${where} by approval ${approval}`);
      else tally.finds("opened by policy", `${where} by ${policies.join(", ")}`);
    };
  },
};
