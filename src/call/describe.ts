import type { Capability } from "../capability/capability.ts";
import { findCapability } from "../capability/registry.ts";
import { CONNECT, describeConnect } from "../policy/connect.ts";
import { describePackage, PACKAGE } from "../policy/describe-package.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import type { Describe } from "../policy/tests.ts";
import { policyRequest, understand } from "./understand.ts";

/**
 * The request that policy would see for a would-be tool call, connection or package, or what is wrong with its arguments. For bundles' tests.
 */
export function describeCall(
  tool: string,
  args: unknown,
  principal: Principal,
): { readonly request: PolicyRequest } | { readonly problem: string } {
  return describeWith(findCapability)(tool, args, principal);
}

/** The same with these tools. */
export function describeWith(find: (tool: string) => Capability | undefined): Describe {
  return (tool, args, principal) => {
    if (tool === CONNECT) return describeConnect(args, principal);
    if (tool === PACKAGE) return describePackage(args, principal);
    const capability = find(tool);
    const understood = understand(capability, { tool, args, principal });
    if (!capability) return { problem: `there is no tool \`${tool}\`` };
    if (!understood.valid) return { problem: understood.problem };
    return { request: policyRequest(capability, understood.description, principal) };
  };
}
