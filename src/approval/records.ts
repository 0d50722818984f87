import type { EventBody, Json } from "../audit/record.ts";

/** An event of a question, of the session and call that it was asked for. */
export function approvalEvent(
  event: Extract<EventBody["event"], `approval-${string}`>,
  { sessionId, callId }: { readonly sessionId: string; readonly callId?: string },
  facts: object,
): EventBody {
  return { kind: "event", event, sessionId, ...(callId !== undefined && { callId }), facts: facts as Json };
}
