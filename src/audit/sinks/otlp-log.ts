import { type Attributes, SeverityNumber, type SpanContext } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableLogRecord } from "@opentelemetry/sdk-logs";
import { inspectedAs } from "../inspected.ts";
import type { Entry } from "../read.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { wantsAttention } from "./attention.ts";
import { label, labels } from "./label.ts";
import { hrTime, intentAttributes, OF_TOOL_CALL } from "./otlp-attributes.ts";
import { callsOf, type RecordOf } from "./otlp-calls.ts";

/**
 * A record as OpenTelemetry's. Its body is the record's line as it stands in the log, so that whoever has it can check its hash; the
 * attributes are there to find it by. Sent again, it is the same to the last byte.
 */
export function logRecordOf(
  { record, text }: Entry,
  spanContext: SpanContext | undefined,
  resource: Resource,
  instrumentationScope: ReadableLogRecord["instrumentationScope"],
): ReadableLogRecord {
  const time = hrTime(Date.parse(record.time));
  const severityNumber = severityOf(record);
  const { body } = record;
  const eventName = `glovebox.${body.kind === "event" ? body.event : body.kind}`;
  return {
    hrTime: time,
    hrTimeObserved: time,
    ...(spanContext && { spanContext }),
    severityNumber,
    severityText: SeverityNumber[severityNumber],
    body: text,
    eventName,
    // Some receivers do not show the field of that name.
    attributes: { "event.name": eventName, ...recordAttributes(record), ...bodyAttributes(record) },
    droppedAttributesCount: 0,
    resource,
    instrumentationScope,
  };
}

/** By which it is known. */
export function recordAttributes({ chain, seq, hash, body }: AuditRecord): Attributes {
  return {
    "glovebox.record.id": `${chain}/${seq}`,
    "glovebox.record.chain": chain,
    "glovebox.record.seq": seq,
    "glovebox.record.hash": hash,
    ...(body.sessionId !== undefined && { "glovebox.session.id": label(body.sessionId) }),
    ...(body.callId !== undefined && { "glovebox.call.id": label(body.callId) }),
  };
}

function bodyAttributes(record: AuditRecord): Attributes {
  const { body, gateway } = record;
  switch (body.kind) {
    case "intent":
      return intentAttributes({ ...record, body });
    case "outcome":
      return {
        ...OF_TOOL_CALL,
        "mcp.session.id": gateway,
        "glovebox.status": body.status,
        "glovebox.duration_ms": body.durationMs,
        ...(body.code !== undefined && { "glovebox.error.code": label(body.code) }),
        ...(body.machineId !== undefined && { "glovebox.machine.id": label(body.machineId) }),
      };
    case "event":
      return eventAttributes({ ...record, body });
  }
}

function eventAttributes({ body: { facts } }: RecordOf<EventBody>): Attributes {
  const calls = callsOf(facts);
  return {
    ...(calls.length > 0 && { "glovebox.call.ids": labels(calls) }),
    ...fact(facts, "machineId", "glovebox.machine.id"),
    ...fact(facts, "approvalId", "glovebox.approval.id"),
    ...fact(facts, "connectionId", "glovebox.connection.id"),
    ...fact(facts, "purl", "glovebox.package.purl"),
    ...fact(facts, "host", "server.address"),
  };
}

function fact(facts: unknown, key: string, name: string): Attributes {
  if (typeof facts !== "object" || facts === null) return {};
  const value: unknown = Object.entries(facts).find(([it]) => it === key)?.[1];
  return typeof value === "string" ? { [name]: label(value) } : {};
}

function severityOf({ body }: AuditRecord): SeverityNumber {
  if (!wantsAttention(body)) return SeverityNumber.INFO;
  return body.kind === "outcome" || inspectedAs(body) === "weaker" ? SeverityNumber.ERROR : SeverityNumber.WARN;
}
