import { hostname } from "node:os";
import type { Attributes, HrTime } from "@opentelemetry/api";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import type { IntentBody } from "../record.ts";
import { label, labels } from "./label.ts";
import type { RecordOf } from "./otlp-calls.ts";

/*
 * Names are those of OpenTelemetry's conventions for MCP and GenAI (github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md),
 * which are not stable yet; what they have no name for begins with `glovebox.`.
 */

/** Of an attempt to use a tool. */
export const OF_TOOL_CALL: Attributes = { "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool" };

/** Who asked for what, and what policy said. */
export function intentAttributes({ body, gateway }: RecordOf<IntentBody>): Attributes {
  const { principal, tool, requestId, decision, policies, bundle } = body;
  return {
    ...OF_TOOL_CALL,
    "gen_ai.tool.name": label(tool),
    // Over stdio there is no id of an MCP session: the process serves one client, from its beginning to its end.
    "mcp.session.id": gateway,
    ...(requestId !== undefined && { "jsonrpc.request.id": label(requestId) }),
    "network.transport": "pipe",
    "user.id": label(principal.id),
    "glovebox.client.name": label(principal.client.name),
    "glovebox.client.version": label(principal.client.version),
    "glovebox.decision": decision,
    "glovebox.policies": labels(policies.map((it) => it.id)),
    "glovebox.bundle.name": label(bundle.name),
    "glovebox.bundle.digest": label(bundle.digest),
  };
}

/** The gateway process that wrote a record, whoever sends it: on this computer, on which the log is. */
export function resourceOf(gateway: string, attributes: Readonly<Record<string, string>>): Resource {
  return resourceFromAttributes({
    ...{ "service.name": "glovebox", "host.name": hostname() },
    ...attributes,
    "service.instance.id": gateway,
  });
}

/** @param ms since 1970; of a time that is none, 0 */
export function hrTime(ms: number): HrTime {
  const whole = Number.isFinite(ms) ? Math.max(0, Math.round(ms)) : 0;
  return [Math.floor(whole / 1_000), (whole % 1_000) * 1_000_000];
}
