import { type Facts, factsIn, numberIn, portIn, present, textIn } from "../facts.ts";
import type { AuditRecord, EventBody, Json } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Told } from "./ocsf-event.ts";
import { actorIn, correlationOf, endpointOf, firewallRule, sandboxEndpoint, sandboxOf } from "./ocsf-parts.ts";

// Network Activity: connections that programs of a sandbox make through the gateway, those that were refused, and ports of the sandbox that
// are opened to the user's computer. The security control is the gateway's egress.

const OUTBOUND = { direction: "Outbound", direction_id: 2, protocol_name: "tcp" };
const INBOUND = { direction: "Inbound", direction_id: 1, protocol_name: "tcp" };
/** They have attributes of their own; the rest of the facts stands in `unmapped`. */
const MAPPED = ["connectionId", "host", "port", "scheme", "address", "sentBytes", "receivedBytes", "durationMs"];

export function connectionOpened(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const facts = factsIn(body.facts);
  return connection(record, body, context, {
    activity: "Open",
    status: "Success",
    ruling: { action: "Allowed", disposition: textIn(facts, "approvalId") === undefined ? "Allowed" : "Approved" },
    message: `a connection to ${placeOf(facts)} is let through`,
    attributes: {},
  });
}

export function connectionClosed(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const facts = factsIn(body.facts);
  const sent = numberIn(facts, "sentBytes");
  const received = numberIn(facts, "receivedBytes");
  const traffic =
    sent === undefined || received === undefined
      ? undefined
      : { bytes: sent + received, bytes_in: received, bytes_out: sent };
  return connection(record, body, context, {
    activity: "Close",
    status: "Success",
    message: `the connection to ${placeOf(facts)} is closed: ${sent ?? 0} bytes sent, ${received ?? 0} received`,
    attributes: { duration: numberIn(facts, "durationMs"), traffic },
  });
}

/** @param main false beside the finding that a placeholder makes */
export function connectionRefused(record: AuditRecord, body: EventBody, context: OcsfContext, main = true): OcsfEvent {
  const facts = factsIn(body.facts);
  const unrecorded = numberIn(facts, "unrecordedBefore");
  const message =
    textIn(facts, "host") === undefined && unrecorded !== undefined
      ? `${unrecorded} refused connections were only counted`
      : `a connection to ${placeOf(facts)} was refused`;
  const told: Part = {
    activity: "Refuse",
    severity: "Low",
    status: "Failure",
    ruling: { action: "Denied", disposition: "Blocked" },
    message,
    attributes: { status_detail: textIn(facts, "reason") },
  };
  return connection(record, body, context, told, main);
}

type Part = Omit<Told, "correlation" | "unmapped">;

function connection(record: AuditRecord, body: EventBody, context: OcsfContext, told: Part, main = true): OcsfEvent {
  const facts = factsIn(body.facts);
  const known = body.sessionId === undefined ? undefined : context.session(body.sessionId);
  const uid = textIn(facts, "connectionId");
  const attributes = {
    actor: actorIn(record, known),
    app_protocol_name: textIn(facts, "scheme"),
    connection_info: present({ ...OUTBOUND, uid }),
    device: sandboxOf(body.sessionId, known),
    dst_endpoint: endpointOf(textIn(facts, "host"), portIn(facts, "port"), textIn(facts, "address")),
    firewall_rule: told.ruling && firewallRule(facts),
    src_endpoint: sandboxEndpoint(body.sessionId),
    ...told.attributes,
  };
  const correlation = correlationOf(record, facts);
  const rest = Object.fromEntries(Object.entries(facts).filter(([name]) => !MAPPED.includes(name)));
  return ocsfEvent(record, context, "network", { ...told, correlation, unmapped: rest, attributes }, main);
}

export function portExposed(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  return exposure(record, body, context, "Listen", "can be reached on this computer's loopback");
}

export function portClosed(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  return exposure(record, body, context, "Close", "cannot be reached any more");
}

function exposure(
  record: AuditRecord,
  body: EventBody,
  context: OcsfContext,
  activity: "Listen" | "Close",
  what: string,
): OcsfEvent {
  const { port: _, ...rest } = factsIn(body.facts);
  const port = portIn(factsIn(body.facts), "port");
  const known = body.sessionId === undefined ? undefined : context.session(body.sessionId);
  const attributes: Record<string, Json | undefined> = {
    actor: actorIn(record, known),
    connection_info: INBOUND,
    device: sandboxOf(body.sessionId, known),
    dst_endpoint: sandboxEndpoint(body.sessionId, port),
  };
  const message = `port ${port ?? "unknown"} of the sandbox ${what}`;
  const told = {
    activity,
    status: "Success",
    correlation: body.sessionId,
    message,
    unmapped: rest,
    attributes,
  } as const;
  return ocsfEvent(record, context, "network", told);
}

export function placeOf(facts: Facts): string {
  const host = textIn(facts, "host") ?? "unknown";
  return `${host.includes(":") ? `[${host}]` : host}:${portIn(facts, "port") ?? "unknown"}`;
}
