import { settles } from "../calls.ts";
import { factsIn } from "../facts.ts";
import type { AuditRecord, EventBody, IntentBody, OutcomeBody } from "../record.ts";
import { approvalEvent } from "./ocsf-approval.ts";
import { intentEvent, outcomeEvent } from "./ocsf-call.ts";
import { entityEvent } from "./ocsf-entity.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Ruling } from "./ocsf-event.ts";
import { fileEvent } from "./ocsf-file.ts";
import { placeholderRefused } from "./ocsf-finding.ts";
import { lifecycleEvent } from "./ocsf-lifecycle.ts";
import { logEvent } from "./ocsf-log.ts";
import { connectionClosed, connectionOpened, connectionRefused, portClosed, portExposed } from "./ocsf-network.ts";
import { packageEvent } from "./ocsf-package.ts";
import { actorIn } from "./ocsf-parts.ts";
import { launchEvent, terminateEvent } from "./ocsf-process.ts";
import { targetOf } from "./tools.ts";

const ALLOWED: Ruling = { action: "Allowed", disposition: "Allowed" };
const APPROVED: Ruling = { action: "Allowed", disposition: "Approved" };
const DENIED: Ruling = { action: "Denied", disposition: "Unauthorized" };
const REJECTED: Ruling = { action: "Denied", disposition: "Rejected" };

/**
 * A record as events of the Open Cybersecurity Schema Framework, the one that stands for the record first. Pure: the same record and context
 * give the same events. Nothing of a record is left out: what no attribute fits is in `unmapped`, and with `withRaw` all of it in `raw_data`.
 */
export function toOcsf(record: AuditRecord, context: OcsfContext): readonly [OcsfEvent, ...OcsfEvent[]] {
  const { body } = record;
  switch (body.kind) {
    case "intent":
      return [intentEvent(record, body, context), ...besidesIntent(record, body, context)];
    case "outcome":
      return [outcomeEvent(record, body, context), ...besidesOutcome(record, body, context)];
    case "event":
      return eventsOf(record, body, context);
  }
}

function eventsOf(record: AuditRecord, body: EventBody, context: OcsfContext): [OcsfEvent, ...OcsfEvent[]] {
  const { event } = body;
  switch (event) {
    case "gateway-started":
    case "gateway-stopped":
    case "session-opened":
    case "session-closed":
    case "session-hibernated":
    case "session-woken":
    case "session-lost":
    case "session-refused":
    case "session-inspected":
    case "skill-refused":
    case "reconciled":
      return [lifecycleEvent(record, body, event, context)];
    case "process-ended":
      return [terminateEvent(record, body, context)];
    case "connection-opened":
      return [connectionOpened(record, body, context)];
    case "connection-closed":
      return [connectionClosed(record, body, context)];
    case "connection-refused":
      return [connectionRefused(record, body, context)];
    case "placeholder-refused":
      return [placeholderRefused(record, body, context), connectionRefused(record, body, context, false)];
    case "port-exposed":
      return [portExposed(record, body, context)];
    case "port-closed":
      return [portClosed(record, body, context)];
    case "package-admitted":
    case "package-refused":
      return [packageEvent(record, body, context)];
    case "approval-requested":
    case "approval-given":
    case "approval-refused":
      return [approvalEvent(record, body, event, context), ...besidesAnswer(record, body, context)];
    case "policy-loaded":
    case "policy-rejected":
    case "advisories-imported":
    case "bodies-erased":
    case "snapshot-deleted":
      return [entityEvent(record, body, event, context)];
    case "segment-started":
    case "log-recovered":
    case "log-truncated":
    case "logging-failed":
    case "logging-recovered":
      return [logEvent(record, body, event, context)];
    default:
      return [otherEvent(record, body, context)];
  }
}

/** A program that is permitted is started; what is denied was attempted. What a person is asked about is settled later. */
function besidesIntent(record: AuditRecord, body: IntentBody, context: OcsfContext): OcsfEvent[] {
  const { decision, callId } = body;
  if (decision !== "permit" && decision !== "deny") return [];
  const target = targetOf(body.tool, body.arguments);
  const call = { ...body, ...(target && { target }) };
  const ruling = decision === "permit" ? ALLOWED : DENIED;
  const launched = launchEvent(record, callId, call, ruling, context);
  const failed = { ruling, status: "Failure", facts: {} } as const;
  const denied = decision === "deny" ? fileEvent(record, callId, call, failed, context) : undefined;
  return [launched, denied].filter((it) => it !== undefined);
}

function besidesOutcome(record: AuditRecord, body: OutcomeBody, context: OcsfContext): OcsfEvent[] {
  const { callId, status, code } = body;
  const call = context.call(callId);
  if (!call) return [];
  const done = status === "ok" ? "Success" : status === "error" ? "Failure" : "Unknown";
  const ruling = call.decision === "ask" ? APPROVED : ALLOWED;
  const act = { ruling, status: done, facts: factsIn(body.facts), ...(code !== undefined && { code }) } as const;
  const file = fileEvent(record, callId, call, act, context);
  return file ? [file] : [];
}

function besidesAnswer(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent[] {
  const call = body.callId === undefined ? undefined : context.call(body.callId);
  if (!call || body.callId === undefined || !settles(body)) return [];
  const given = body.event === "approval-given";
  const launched = launchEvent(record, body.callId, call, given ? APPROVED : REJECTED, context);
  const failed = { ruling: REJECTED, status: "Failure", facts: {} } as const;
  const denied = given ? undefined : fileEvent(record, body.callId, call, failed, context);
  return [launched, denied].filter((it) => it !== undefined);
}

/** Base Event: of a kind that no class fits, as signatures, or that has none yet. */
function otherEvent(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const { event, facts, sessionId } = body;
  const known = sessionId === undefined ? undefined : context.session(sessionId);
  return ocsfEvent(record, context, "base", {
    activity: event,
    correlation: body.callId ?? sessionId,
    message: event,
    unmapped: factsIn(facts),
    attributes: { actor: actorIn(record, known) },
  });
}
