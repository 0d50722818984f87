import type { Approvals } from "../../src/approval/approval.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { alone } from "../../src/policy/decide.ts";
import { holdPolicy, type PolicyHolder } from "../../src/policy/in-force.ts";

/** A bundle that is all there is, and may be replaced. */
export function inForce(bundle: Bundle): PolicyHolder {
  return holdPolicy(alone(bundle, "test"));
}

/** Nobody is there to be asked. */
export const NOBODY: Approvals = {
  approve: async () => ({ approved: false, why: "unreachable", text: "Nobody can be asked." }),
  grants: () => [],
  forget: () => undefined,
};
