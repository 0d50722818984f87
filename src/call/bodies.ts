import type { BodyName } from "../audit/bodies/bodies.ts";
import type { IntentBody, KeptBody, LostBody, OutcomeBody } from "../audit/record.ts";
import { asGatewayError, type GatewayError } from "../errors.ts";
import type { CallPorts, CallRequest, CallResult } from "./ports.ts";

export type Ended = Exclude<CallResult, { kind: "denied" }>;

/**
 * Keeps what goes into a call and what comes out of it, where the policy that was in force when it was decided says so. The record names it, or says why
 * it could not be kept: that is a `failure` of the call. Neither rejects.
 */
export interface CallBodies {
  /** Before the intent is recorded. */
  arguments(args: unknown): Promise<Pick<IntentBody, "bodies"> & Failure>;
  /** Before the outcome is recorded. */
  result(result: Ended): Promise<Pick<OutcomeBody, "bodies"> & Failure>;
}

interface Failure {
  readonly failure?: GatewayError;
}

const OFF: CallBodies = { arguments: async () => ({}), result: async () => ({}) };

export function bodiesOf(
  callId: string,
  { principal, tool }: CallRequest,
  sessionId: string,
  ports: CallPorts,
): CallBodies {
  const { policy, sessions, bodies } = ports;
  if (policy.current.profile.audit.bodies === "off") return OFF;
  // Keys are made for sessions that there are: what an agent makes up is kept under its default session's.
  const isOpen = sessions.list(principal).some((it) => it.sessionId === sessionId);
  const keptUnder = isOpen ? sessionId : sessions.idOf(principal, undefined);
  const keep = async (name: BodyName, content: unknown): Promise<{ readonly kept: KeptBody | LostBody } & Failure> => {
    try {
      return { kept: await bodies.keep({ sessionId: keptUnder, callId, tool, name }, content) };
    } catch (error) {
      const failure = asGatewayError(error);
      return { kept: { lost: failure.message }, failure };
    }
  };
  return {
    arguments: async (args) => {
      const { kept, ...failed } = await keep("arguments", args);
      return { bodies: { arguments: kept }, ...failed };
    },
    result: async (result) => {
      const { kept, ...failed } = await keep("result", given(result));
      return { bodies: { result: kept }, ...failed };
    },
  };
}

/** What the client is given, but for what the gateway says of every call. */
function given(result: Ended): unknown {
  if (result.kind === "failed") return { error: { code: result.error.code, message: result.error.message } };
  const { text, result: structured, pictures } = result.outcome;
  return { text, structured, pictures };
}
