import { factsIn, portIn, textIn } from "../facts.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent } from "./ocsf-event.ts";
import { placeOf } from "./ocsf-network.ts";
import { actorIn, correlationOf, endpointOf, sandboxEndpoint, sandboxOf } from "./ocsf-parts.ts";

// Detection Finding: a secret, or the placeholder of one, was on its way to where it does not belong. Of all that the gateway refuses, this is
// what somebody has to look at: a program in the sandbox tried to carry a credential out. The refused connection is told besides.

const RULE = { name: "secrets go where they belong", type: "Rule", type_id: 1, uid: "placeholder-refused" };

export function placeholderRefused(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const facts = factsIn(body.facts);
  const known = body.sessionId === undefined ? undefined : context.session(body.sessionId);
  const reason = textIn(facts, "reason");
  const to = endpointOf(textIn(facts, "host"), portIn(facts, "port"));
  return ocsfEvent(record, context, "finding", {
    activity: "Create",
    severity: "High",
    status: "New",
    ruling: { action: "Denied", disposition: "Blocked" },
    correlation: correlationOf(record, facts),
    message: `a secret was kept from ${placeOf(facts)}`,
    unmapped: facts,
    attributes: {
      actor: actorIn(record, known),
      device: sandboxOf(body.sessionId, known),
      evidences: [{ data: facts, dst_endpoint: to, src_endpoint: sandboxEndpoint(body.sessionId) }],
      finding_info: {
        analytic: RULE,
        desc: reason ?? "a secret was on its way to where it does not belong",
        title: "Secret on its way out of a sandbox",
        types: ["credential exfiltration"],
        uid: `${record.chain}/${record.seq}`,
      },
      is_alert: true,
    },
  });
}
