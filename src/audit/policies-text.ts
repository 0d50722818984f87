import type { DecidingPolicy } from "../policy/decision.ts";

/**
 * Policies as people name them and ask for them: with their layer, where there are several, as two layers may each have a file and a policy of
 * the same name.
 */
export function policiesText(policies: readonly DecidingPolicy[]): string {
  return policies.map(({ id, layer }) => (layer === undefined ? id : `${layer}:${id}`)).join(" ");
}
