import type { Asked } from "../approval/approval.ts";
import { stillApproved } from "../approval/settle.ts";
import type { Decision } from "../policy/decision.ts";
import { decided } from "./decided.ts";
import type { CallPorts, CallRequest, Denial } from "./ports.ts";

/**
 * Asks a person about a call that policy leaves to one, and policy again when the person has answered: it may be another one by now.
 * Resolves with what stands in the way, or with nothing. @throws GatewayError AUDIT_UNWRITABLE, BUDGETS_UNREADABLE
 */
export async function askPerson(
  asked: Asked,
  { signal, progress, trace }: CallRequest,
  ports: Pick<CallPorts, "approvals" | "accounts" | "policy" | "audit">,
): Promise<Denial | undefined> {
  const { request, decision, sessionId, callId = "" } = asked;
  const approval = await ports.approvals.approve(asked, signal, progress);
  if (!approval.approved) return { decision, unapproved: approval.text };
  const runs = (by: Decision) => !signal.aborted && stillApproved(by, decision);
  const { decision: now, undecided } = decided(request, sessionId, ports, runs);
  if (runs(now)) return undefined;
  // What was approved is open on record: this is how it ended.
  const code = signal.aborted ? "CANCELLED" : (undecided?.code ?? "DENIED");
  const known = { callId, sessionId, ...(trace && { trace }) };
  const ended = { kind: "outcome", ...known, status: "error", code, durationMs: 0 } as const;
  await ports.audit.append({ ...ended, facts: { policies: now.policies.map((it) => it.id) } });
  signal.throwIfAborted();
  if (undecided) throw undecided;
  return { decision: now, unapproved: "Policy decides otherwise than when a person was asked." };
}
