import type { Check } from "../check.ts";
import { textOf } from "../facts.ts";

const CODES: ReadonlySet<string> = new Set([
  "BUDGETS_UNREADABLE",
  "FILE_TOO_LARGE",
  "HOST_BUSY",
  "PORT_LIMIT",
  "PROCESS_LIMIT",
  "SESSION_LIMIT",
  "SNAPSHOT_LIMIT",
  "TRANSFER_TOO_LARGE",
]);
const ENDINGS: ReadonlySet<string> = new Set(["timeout", "output-limit", "out-of-memory"]);

/** What an agent may use is bounded, and the bounds held. */
export const limits: Check = {
  id: "limits",
  of: "records",
  looksFor: "Calls that asked for more than their limits allow were refused or ended by the limit.",
  start:
    (tally) =>
    ({ body }) => {
      if (body.kind !== "outcome") return;
      const { callId, code, facts } = body;
      const ending = textOf(facts, "endedBy");
      if (code !== undefined && CODES.has(code)) tally.finds(code, `${callId}: ${code}`);
      else if (ending !== undefined && ENDINGS.has(ending)) tally.finds(`ended by ${ending}`, `${callId}: ${ending}`);
      else tally.concerns("within their limits");
    },
};
