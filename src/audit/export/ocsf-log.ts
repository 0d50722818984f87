import { factsIn, textIn } from "../facts.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Told } from "./ocsf-event.ts";
import { gatewayOf } from "./ocsf-parts.ts";

// Event Log Activity: what happens to the audit log itself. That a crash left half a record, or that nobody else gets the log, is for somebody
// to look at.

type Kind = Pick<Told, "activity" | "severity" | "status"> & { readonly what: string };

const KINDS = {
  "segment-started": { activity: "Rotate", status: "Success", what: "the log goes on in another segment" },
  "log-recovered": {
    ...{ activity: "Recover", severity: "Medium", status: "Success" },
    what: "half a record was moved aside when the log was opened",
  },
  "log-truncated": { activity: "Delete", status: "Success", what: "the oldest records are removed" },
  "logging-failed": {
    ...{ activity: "Export", severity: "Medium", status: "Failure" },
    what: "a receiver of the log gets nothing",
  },
  "logging-recovered": { activity: "Export", status: "Success", what: "a receiver of the log gets it again" },
} as const satisfies Record<string, Kind>;

export function logEvent(
  record: AuditRecord,
  body: EventBody,
  event: keyof typeof KINDS,
  context: OcsfContext,
): OcsfEvent {
  const { what, ...told }: Kind = KINDS[event];
  const facts = factsIn(body.facts);
  const isByPerson = textIn(facts, "why") === "person";
  const why = isByPerson ? " because a person asked for it" : " for their age";
  return ocsfEvent(record, context, "log", {
    ...told,
    message: event === "log-truncated" ? `${what}${why}` : what,
    unmapped: facts,
    attributes: {
      actor: gatewayOf(record),
      log_name: record.chain,
      log_provider: "Glovebox",
      log_type: "Application",
      log_type_id: 2,
      status_detail: textIn(facts, "problem"),
    },
  });
}
