import { type Attributes, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { label } from "./label.ts";
import { hrTime, intentAttributes, OF_TOOL_CALL } from "./otlp-attributes.ts";
import type { EndedCall } from "./otlp-calls.ts";

/** How it ended, in the conventions' words and in ours. */
interface Ending {
  /** `error.type`; absent when it ended well. */
  readonly error?: "tool_error" | "interrupted";
  readonly attributes: Attributes;
}

/**
 * The span of a call, from its intent to its end. Of one whose intent is not known any more, it is made of the outcome alone, without
 * the tool, and as long as the outcome says.
 */
export function spanOf(
  call: EndedCall,
  resource: Resource,
  instrumentationScope: ReadableSpan["instrumentationScope"],
): ReadableSpan {
  const { intent, end, context, parent } = call;
  const endMs = Date.parse(end.time);
  const lastedMs = end.body.kind === "outcome" ? end.body.durationMs : 0;
  const startMs = intent ? Date.parse(intent.time) : endMs - lastedMs;
  const { error, attributes } = endingOf(call);
  return {
    name: nameOf(call),
    kind: SpanKind.SERVER,
    spanContext: () => context,
    ...(parent && { parentSpanContext: parent }),
    startTime: hrTime(startMs),
    // A clock that was set back meanwhile makes no span that ends before it began.
    endTime: hrTime(Math.max(startMs, endMs)),
    duration: hrTime(Math.max(0, endMs - startMs)),
    ended: true,
    status: error ? { code: SpanStatusCode.ERROR, message: messageOf(call) } : { code: SpanStatusCode.UNSET },
    attributes: {
      ...OF_TOOL_CALL,
      "mcp.session.id": end.gateway,
      ...(intent && { ...intentAttributes(intent), "glovebox.record.intent": `${intent.chain}/${intent.seq}` }),
      ...(end !== intent && { "glovebox.record.end": `${end.chain}/${end.seq}` }),
      "glovebox.call.id": label(call.callId),
      ...(end.body.sessionId !== undefined && { "glovebox.session.id": label(end.body.sessionId) }),
      ...(error && { "error.type": error }),
      ...attributes,
    },
    links: [],
    events: [],
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
    resource,
    instrumentationScope,
  };
}

/** What did not fit may be of a tool that an agent has made up: names of spans are few. */
function nameOf({ intent }: EndedCall): string {
  return intent && intent.body.decision !== "invalid" ? `tools/call ${label(intent.body.tool)}` : "tools/call";
}

function endingOf({ end: { body } }: EndedCall): Ending {
  if (body.kind !== "outcome") return { error: "tool_error", attributes: { "glovebox.status": "refused" } };
  const { status, code, machineId } = body;
  const attributes = {
    "glovebox.status": status,
    "glovebox.duration_ms": body.durationMs,
    ...(code !== undefined && { "glovebox.error.code": label(code) }),
    ...(machineId !== undefined && { "glovebox.machine.id": label(machineId) }),
  };
  if (status === "ok") return { attributes };
  return { error: status === "error" ? "tool_error" : "interrupted", attributes };
}

function messageOf({ end: { body } }: EndedCall): string {
  if (body.kind === "outcome") return body.code === undefined ? body.status : label(body.code);
  if (body.kind === "event") return "refused by a person";
  return body.decision === "deny" ? "denied by policy" : "the arguments do not fit";
}
