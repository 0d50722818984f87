import { settles } from "../calls.ts";
import { factsIn, textIn } from "../facts.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Told } from "./ocsf-event.ts";
import { actorIn, callerOf, sandboxOf, userOf } from "./ocsf-parts.ts";

// User Access Management: a person gives, for one call or for a session, what policy leaves to people. The user is who asked for it, the actor
// who answered, the privilege the action. The class knows assigning and revoking; a question, a refusal and an answer that does not count are others.

const KINDS = {
  "approval-requested": {
    activity: "Request",
    status: "Unknown",
    ruling: { action: "Observed", disposition: "Logged" },
    what: "a person is asked about",
  },
  "approval-given": {
    activity: "Assign Privileges",
    status: "Success",
    ruling: { action: "Allowed", disposition: "Approved" },
    what: "a person allowed",
  },
  "approval-refused": {
    activity: "Refuse",
    severity: "Low",
    status: "Failure",
    ruling: { action: "Denied", disposition: "Rejected" },
    what: "not approved:",
  },
  // The question stays open, and may still be answered with yes. Somebody answered who may not, or not as is asked: that is to be looked at.
  uncounted: {
    activity: "Answer",
    severity: "Medium",
    status: "Failure",
    ruling: { action: "Observed", disposition: "Logged" },
    what: "an answer did not count:",
  },
} as const satisfies Record<string, Pick<Told, "activity" | "severity" | "status" | "ruling"> & { what: string }>;

export function approvalEvent(
  record: AuditRecord,
  body: EventBody,
  kind: "approval-requested" | "approval-given" | "approval-refused",
  context: OcsfContext,
): OcsfEvent {
  const { what, ...told } = KINDS[kind === "approval-refused" && !settles(body) ? "uncounted" : kind];
  const facts = factsIn(body.facts);
  const { sessionId, callId } = body;
  const known = sessionId === undefined ? undefined : context.session(sessionId);
  const call = callId === undefined ? undefined : context.call(callId);
  const approver = textIn(facts, "approver");
  const principal = call?.principal ?? known?.owner;
  const action = textIn(facts, "action") ?? call?.tool ?? "unknown";
  const asker = call ? callerOf(call.principal, sessionId) : actorIn(record, known);
  return ocsfEvent(record, context, "access", {
    ...told,
    correlation: callId ?? textIn(facts, "approvalId") ?? sessionId,
    message: `${what} ${action}`,
    unmapped: facts,
    attributes: {
      actor: approver === undefined ? asker : { user: userOf(approver) },
      device: sandboxOf(sessionId, known),
      privileges: [action],
      resources: sessionId === undefined ? undefined : [{ type: "session", uid: sessionId }],
      status_detail: textIn(facts, "problem") ?? textIn(facts, "why"),
      user: principal ? userOf(principal.id) : { name: "unknown", type: "Unknown", type_id: 0 },
    },
  });
}
