import type { Explanation } from "../capability/capability.ts";
import { decide } from "../policy/decide.ts";
import { layerDecisions } from "../policy/explain/explanation.ts";
import { nearestPermitted } from "../policy/explain/nearest.ts";
import { isNode } from "../policy/literals.ts";
import type { Principal } from "../policy/request.ts";
import type { Describe } from "../policy/tests.ts";
import { describeWith } from "./describe.ts";
import type { CallPorts } from "./ports.ts";

type Ports = {
  readonly find: CallPorts["find"];
  readonly accounts: Pick<CallPorts["accounts"], "asked">;
  readonly policy: CallPorts["policy"];
};

/**
 * What policy would say of a call, or of a connection of the sandbox, and what it would permit instead; nothing is executed. All of it is said
 * by one policy and one look at what has been used: by the session that the call would be for, or else `sessionId`.
 */
export function explain(
  tool: string,
  args: unknown,
  { principal, sessionId }: { readonly principal: Principal; readonly sessionId: string },
  ports: Ports,
): Explanation {
  const describe: Describe = describeWith(ports.find);
  const described = describe(tool, args, principal);
  if ("problem" in described) return { valid: false, problem: described.problem };
  const call = { tool, args: isNode(args) ? args : {} };
  const { sessionId: named } = call.args;
  const request = ports.accounts.asked(described.request, typeof named === "string" ? named : sessionId);
  const { usage } = request;
  const policy = ports.policy.current;
  const layers = policy.layers.length > 1 ? layerDecisions({ ...policy, shadows: [] }, request) : undefined;
  const nearest = nearestPermitted(call, principal, {
    policy,
    describe,
    decide: (it) => decide(policy, usage ? { ...it, usage } : it),
  });
  const decision = decide(policy, request);
  return { valid: true, description: request, decision, ...(layers && { layers }), ...(nearest && { nearest }) };
}
