import { isDeepStrictEqual } from "node:util";
import { PROOF_EVENTS, type RecordBody } from "../../audit/record.ts";
import { redact } from "../../audit/redact.ts";
import type { Check } from "../check.ts";

/** The log itself holds none of the secrets that can be told by their name or form. */
export const secretsAbsent: Check = {
  id: "secrets-absent",
  of: "records",
  looksFor:
    "Records hold no text that has the name or the form of a secret: they are searched again, by the rules of this version.",
  start:
    (tally) =>
    ({ body }) => {
      // Public keys and signatures, which are written as they are.
      if (body.kind === "event" && PROOF_EVENTS.includes(body.event)) return;
      if (isDeepStrictEqual(redact(body), body)) {
        tally.finds("records searched, and nothing found");
        if (JSON.stringify(body).includes("[redacted:")) tally.finds("records from which secrets had been left out");
      } else tally.contradicts("records with what looks like a secret", `it is in \`${memberWithSecret(body)}\``);
    },
};

/** The member, and never what it holds. */
function memberWithSecret(body: RecordBody): string {
  const members = Object.entries(body).filter(
    ([name, value]) => !isDeepStrictEqual(redact({ [name]: value }), { [name]: value }),
  );
  return members.map(([name]) => name).join("`, `");
}
