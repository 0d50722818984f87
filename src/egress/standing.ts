import type { Duplex } from "node:stream";
import { asGatewayError } from "../errors.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { Traffic } from "./traffic.ts";

interface Kept {
  readonly target: { readonly host: string; readonly port: number };
  readonly ask: () => Verdict;
}

/** What is let through now, and by which word of policy, so that it can be asked for again when that may be another one. */
export interface Standing {
  /**
   * Until the connection closes, or until it is kept for something else. `ask` says whether it still is permitted, by policy or because a
   * person let it through. INVARIANT: from when it is permitted on, also while it is being dialled: else a change meanwhile is not for it.
   */
  keep(connection: Duplex, target: Kept["target"], ask: () => Verdict): void;
  /** Ends what is not permitted by now; `why` is what has changed. Never throws. */
  review(why: string): void;
}

export function createStanding(traffic: Pick<Traffic, "refuse">): Standing {
  const kept = new Map<Duplex, Kept>();
  return {
    keep: (connection, target, ask) => {
      if (connection.destroyed) return;
      if (!kept.has(connection)) connection.once("close", () => kept.delete(connection));
      kept.set(connection, { target, ask });
    },
    review: (why) => {
      for (const [connection, { target, ask }] of kept) {
        const { permitted, reason, policies } = answerOf(ask);
        if (permitted) continue;
        traffic.refuse(target, `${why}: ${reason}`, { policies });
        connection.destroy();
      }
    },
  };
}

/** What can't be decided is not permitted. A timer has nobody to throw at. */
function answerOf(ask: () => Verdict): Verdict {
  try {
    return ask();
  } catch (error) {
    return { permitted: false, reason: asGatewayError(error).message, policies: [] };
  }
}
