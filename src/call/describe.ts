import { findCapability } from "../capability/registry.ts";
import { CONNECT, describeConnect } from "../policy/connect.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import { policyRequest, understand } from "./understand.ts";

/** The request that policy would see for a would-be tool call or connection, or what is wrong with its arguments. For bundles' tests. */
export function describeCall(
  tool: string,
  args: unknown,
  principal: Principal,
): { readonly request: PolicyRequest } | { readonly problem: string } {
  if (tool === CONNECT) return describeConnect(args, principal);
  const capability = findCapability(tool);
  const understood = understand(capability, { tool, args, principal });
  if (!capability) return { problem: `there is no tool \`${tool}\`` };
  if (!understood.valid) return { problem: understood.problem };
  return { request: policyRequest(capability, understood.description, principal) };
}
