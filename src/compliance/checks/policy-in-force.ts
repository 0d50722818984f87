import type { Check } from "../check.ts";
import { eventOf, factOf, textOf } from "../facts.ts";

/** Of gateways that shared a chain one after the other. */
const MAX_NAMED = 10_000;

/** Decisions come from a policy that was announced. */
export const policyInForce: Check = {
  id: "policy-in-force",
  of: "records",
  looksFor: "Gateways put on record which policy is in force, and decide by a policy that they put on record.",
  start: (tally) => {
    let gateway = "";
    // Of this gateway. Calls that were decided under the policy before may come after its replacement.
    let named = new Set<string>();
    return (record) => {
      if (record.gateway !== gateway) {
        gateway = record.gateway;
        named = new Set();
      }
      const { body } = record;
      const loaded = eventOf(record, "gateway-started", "policy-loaded");
      if (loaded) {
        const bundle = factOf(loaded.facts, "bundle");
        const digest = textOf(bundle, "digest");
        if (digest === undefined) return tally.concerns(`${loaded.event} without a policy`);
        const before = textOf(factOf(loaded.facts, "previous"), "digest");
        // The one before is named by it, too, where the record of its own was removed.
        for (const it of [digest, ...(before === undefined ? [] : [before])]) if (named.size < MAX_NAMED) named.add(it);
        const name = [textOf(bundle, "name"), textOf(bundle, "version"), digest].join(" ");
        return tally.finds(loaded.event, `${loaded.event}: ${name}`);
      }
      if (body.kind !== "intent") return;
      if (named.size === 0 || named.size === MAX_NAMED) tally.concerns("decided before a policy was named");
      else {
        const by = `${body.callId} was decided by ${body.bundle.digest}`;
        if (named.has(body.bundle.digest)) tally.finds("decided by a named policy", by);
        else tally.contradicts("decided by another policy", by);
      }
    };
  },
};
