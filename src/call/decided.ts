import { asGatewayError, type GatewayError } from "../errors.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyRequest } from "../policy/request.ts";
import type { CallPorts } from "./ports.ts";

export interface Decided {
  readonly decision: Decision;
  /** The request, with what had been used. */
  readonly asked: PolicyRequest;
  /** Why it could not be decided, if so: a denial then. */
  readonly undecided?: GatewayError;
}

/** Policy's word on a call, which counts if it `runs` by it. What can't be decided, since nobody knows what has been used, is denied. */
export function decided(
  request: PolicyRequest,
  sessionId: string,
  { accounts, policy }: Pick<CallPorts, "accounts" | "policy">,
  runs?: (decision: Decision) => boolean,
): Decided {
  try {
    const { decision, request: asked } = accounts.reserve(request, sessionId, runs);
    return { decision, asked };
  } catch (error) {
    const undecided = asGatewayError(error);
    const { identity: bundle } = policy.current;
    const decision = { outcome: "deny", policies: [], problems: [undecided.message], bundle } as const;
    return { decision, asked: request, undecided };
  }
}
