import type { Check } from "../check.ts";

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Who decided, and by which text: a decision can be explained, and made again. */
export const decisionsNamed: Check = {
  id: "decisions-named",
  of: "records",
  looksFor: "Decisions name the policies that determined them and the digest of the policy in force.",
  start:
    (tally) =>
    ({ body }) => {
      if (body.kind !== "intent" || body.decision === "invalid") return;
      const { callId, tool, decision, policies, bundle } = body;
      const by = policies.map((it) => it.id).join(", ");
      if (!DIGEST.test(bundle.digest)) {
        tally.contradicts("without the policy's digest", `${callId}: ${tool} names no digest of a policy`);
      } else if (by !== "") {
        tally.finds(`${decision} by named policies`, `${callId}: ${tool}: ${decision} by ${by} of ${bundle.digest}`);
      } else if (decision === "deny") {
        tally.concerns("denied without a policy that forbids it");
      } else {
        tally.contradicts("without a policy", `${callId}: ${tool}: ${decision}, and no policy is named`);
      }
    },
};
