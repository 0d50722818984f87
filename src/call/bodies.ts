import type { IntentBody, KeptBody, OutcomeBody } from "../audit/record.ts";
import { asGatewayError, type GatewayError } from "../errors.ts";
import type { CallPorts, CallRequest, CallResult } from "./ports.ts";

export type Ended = Exclude<CallResult, { kind: "denied" }>;

/** Keeps what goes into a call and what comes out of it, where the policy that was in force when it was decided says so. */
export interface CallBodies {
  /** Before the intent is recorded, which names it. @throws GatewayError AUDIT_UNWRITABLE */
  arguments(args: unknown): Promise<Pick<IntentBody, "bodies">>;
  /** Before the outcome is recorded, which names it, or says why it could not be kept: then the call has failed. Never rejects. */
  result(result: Ended): Promise<Pick<OutcomeBody, "bodies"> & { readonly failure?: GatewayError }>;
}

const OFF: CallBodies = { arguments: async () => ({}), result: async () => ({}) };

export function bodiesOf(callId: string, { principal }: CallRequest, sessionId: string, ports: CallPorts): CallBodies {
  const { policy, sessions, bodies } = ports;
  if (policy.current.profile.audit.bodies === "off") return OFF;
  // Keys are made for sessions that there are: what an agent makes up is kept under its default session's.
  const isOpen = sessions.list(principal).some((it) => it.sessionId === sessionId);
  const keptUnder = isOpen ? sessionId : sessions.idOf(principal, undefined);
  const keep = (name: "arguments" | "result", content: unknown): Promise<KeptBody> =>
    bodies.keep({ sessionId: keptUnder, callId, name }, content);
  return {
    arguments: async (args) => ({ bodies: { arguments: await keep("arguments", args) } }),
    result: async (result) => {
      try {
        return { bodies: { result: await keep("result", given(result)) } };
      } catch (error) {
        const failure = asGatewayError(error);
        return { bodies: { result: { lost: failure.message } }, failure };
      }
    },
  };
}

/** What the client is given, but for what the gateway says of every call. */
function given(result: Ended): unknown {
  if (result.kind === "failed") return { error: { code: result.error.code, message: result.error.message } };
  const { text, result: structured, pictures } = result.outcome;
  return { text, structured, pictures };
}
