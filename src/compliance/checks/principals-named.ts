import type { Check } from "../check.ts";
import { line } from "../tally.ts";

const MAX_REMEMBERED = 10_000;

/** On whose behalf, and through which client. */
export const principalsNamed: Check = {
  id: "principals-named",
  of: "records",
  looksFor: "Calls name the principal on whose behalf they were made, and the client that made them.",
  start: (tally) => {
    const seen = new Set<string>();
    return ({ body }) => {
      if (body.kind !== "intent") return;
      const { id, client } = body.principal;
      if (id === "") {
        tally.contradicts("without a principal", `${body.callId}: ${body.tool} names nobody`);
        return;
      }
      const who = line(`${id} through ${client.name} ${client.version}`);
      tally.finds("calls of a named principal", seen.has(who) ? undefined : who);
      if (seen.size < MAX_REMEMBERED) seen.add(who);
    };
  },
};
