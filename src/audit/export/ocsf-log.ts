import { factsIn, textIn } from "../facts.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent } from "./ocsf-event.ts";
import { gatewayOf } from "./ocsf-parts.ts";

// Event Log Activity: what happens to the audit log itself. That a crash left half a record is for somebody to look at.

export function logRecovered(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  return logEvent(record, body, context, "Recover", "half a record was moved aside when the log was opened");
}

export function segmentStarted(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  return logEvent(record, body, context, "Rotate", "the log goes on in another segment");
}

export function logTruncated(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const isByPerson = textIn(factsIn(body.facts), "why") === "person";
  const why = isByPerson ? "because a person asked for it" : "for their age";
  return logEvent(record, body, context, "Delete", `the oldest records are removed ${why}`);
}

function logEvent(
  record: AuditRecord,
  { facts }: EventBody,
  context: OcsfContext,
  activity: "Recover" | "Rotate" | "Delete",
  message: string,
): OcsfEvent {
  return ocsfEvent(record, context, "log", {
    activity,
    severity: activity === "Recover" ? "Medium" : "Informational",
    status: "Success",
    message,
    unmapped: factsIn(facts),
    attributes: {
      actor: gatewayOf(record),
      log_name: record.chain,
      log_provider: "Glovebox",
      log_type: "Application",
      log_type_id: 2,
    },
  });
}
