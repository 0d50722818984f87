import { z } from "zod";
import type { Capability, Description } from "../capability/capability.ts";
import { GatewayError } from "../errors.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import type { CallRequest } from "./ports.ts";

/** The request that policy decides, made of validated arguments alone. */
export function policyRequest(capability: Capability, description: Description, principal: Principal): PolicyRequest {
  return { principal, action: capability.name, resource: description.resource, context: description.context };
}

type Understood =
  | { readonly valid: true; readonly args: Record<string, unknown>; readonly description: Description }
  | { readonly valid: false; readonly problem: string };

/** Validates and describes: what is described here is exactly what runs. */
export function understand(
  capability: Capability | undefined,
  request: Pick<CallRequest, "tool" | "args" | "principal">,
): Understood {
  if (!capability) return { valid: false, problem: `there is no tool \`${request.tool.slice(0, 100)}\`` };
  const parsed = capability.input.safeParse(request.args ?? {});
  if (!parsed.success) return { valid: false, problem: z.prettifyError(parsed.error).slice(0, 2_000) };
  try {
    return { valid: true, args: parsed.data, description: capability.describe(parsed.data, request.principal) };
  } catch (error) {
    if (error instanceof GatewayError && error.code === "INVALID_ARGUMENTS") {
      return { valid: false, problem: error.message };
    }
    throw error;
  }
}
