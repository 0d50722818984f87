import { asJson } from "../as-json.ts";
import { factsIn, present, textIn } from "../facts.ts";
import type { AuditRecord, IntentBody, Json, OutcomeBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Ruling, type Told } from "./ocsf-event.ts";
import { authorizationsOf, bundlePolicy, callerOf, gatewayOf, sandboxOf } from "./ocsf-parts.ts";
import { toolOf } from "./tools.ts";

// API Activity: every call is one of the gateway's API, which MCP is. An intent is the decision, an outcome how it ended.

/** What a decision is in the words of the `security_control` profile. A person is yet to decide what policy asks about. */
const RULINGS: Record<IntentBody["decision"], Ruling> = {
  permit: { action: "Allowed", disposition: "Allowed" },
  deny: { action: "Denied", disposition: "Unauthorized" },
  ask: { action: "Observed", disposition: "Logged" },
  invalid: { action: "Denied", disposition: "Rejected" },
};

export function intentEvent(record: AuditRecord, body: IntentBody, context: OcsfContext): OcsfEvent {
  const { callId, tool, principal, sessionId, decision, policies, problems, bundle, shadow, request } = body;
  const ran = decision === "permit" || decision === "ask";
  const authorizations = authorizationsOf(body);
  return ocsfEvent(record, context, "api", {
    activity: activityOf(tool),
    severity: ran ? "Informational" : "Low",
    status: ran ? "Unknown" : "Failure",
    ruling: RULINGS[decision],
    correlation: callId,
    message: `${tool} was asked for: ${decision}`,
    unmapped: present({
      decision,
      problems: problems.length === 0 ? undefined : problems,
      layers: bundle.layers?.map((it) => ({ ...it })),
      shadow: shadow && asJson(shadow),
      request,
      bodies: body.bodies && asJson(body.bodies),
    }),
    attributes: {
      actor: callerOf(principal, sessionId),
      api: { operation: tool, service: SERVICE, request: { uid: callId, data: body.arguments } },
      authorizations: authorizations.length === 0 ? undefined : authorizations,
      device: deviceOf(sessionId, context),
      policy: bundlePolicy(bundle),
      resources: resourcesOf(sessionId, request),
      status_detail: problems[0] ?? (ran ? undefined : policies.find((it) => it.reason !== undefined)?.reason),
      ...spoken(principal.client),
      src_endpoint: { name: principal.transport, svc_name: principal.client.name || "unknown" },
    },
  });
}

export function outcomeEvent(record: AuditRecord, body: OutcomeBody, context: OcsfContext): OcsfEvent {
  const { callId, status, code, facts, durationMs } = body;
  const call = context.call(callId);
  const sessionId = body.sessionId ?? call?.sessionId;
  const duration = Math.round(durationMs);
  const message = textIn(factsIn(facts), "message") ?? textIn(factsIn(facts), "reason");
  const failed: Pick<Told, "severity" | "status"> = {
    severity: status === "interrupted" ? "Medium" : "Low",
    status: "Failure",
  };
  return ocsfEvent(record, context, "api", {
    activity: call ? activityOf(call.tool) : "Unknown outcome",
    ...(status === "ok" ? { status: "Success" } : failed),
    // What ran was permitted, by policy or by a person.
    ruling: call?.decision === "ask" ? { action: "Allowed", disposition: "Approved" } : RULINGS.permit,
    correlation: callId,
    message: `${call?.tool ?? "a call"} ended: ${code ?? status}`,
    unmapped: present({ outcome: status, bodies: body.bodies && asJson(body.bodies) }),
    attributes: {
      actor: call ? callerOf(call.principal, sessionId) : gatewayOf(record, sessionId),
      api: {
        operation: call?.tool ?? "unknown",
        service: SERVICE,
        request: { uid: callId },
        response: present({ data: facts, error: code, error_message: status === "ok" ? undefined : message }),
      },
      device: deviceOf(sessionId, context),
      duration: Number.isSafeInteger(duration) && duration >= 0 ? duration : undefined,
      policy: call && bundlePolicy(call.bundle),
      resources: resourcesOf(sessionId, undefined),
      status_code: code ?? (status === "interrupted" ? "INTERRUPTED" : undefined),
      status_detail: status === "ok" ? undefined : message,
      ...(call && spoken(call.principal.client)),
      src_endpoint: call
        ? { name: call.principal.transport, svc_name: call.principal.client.name || "unknown" }
        : { name: "unknown" },
    },
  });
}

const SERVICE = { name: "Glovebox" };

/** A tool of a skill, and one that there is not, is none of the four that OCSF has. */
function activityOf(tool: string): string {
  const does = toolOf(tool)?.does;
  return does === undefined ? "Call" : { create: "Create", read: "Read", update: "Update", delete: "Delete" }[does];
}

/** The `ai_operation` profile: a tool, called by the application that an agent runs in. */
function spoken({ name, version }: { readonly name: string; readonly version: string }): { message_context: Json } {
  const application = present({ name: name || "unknown", version: version || undefined });
  return { message_context: { ai_role: "Tool", ai_role_id: 3, application, service: SERVICE } };
}

function deviceOf(sessionId: string | undefined, context: OcsfContext): Json | undefined {
  return sessionId === undefined ? undefined : sandboxOf(sessionId, context.session(sessionId));
}

/** The sandbox, and what of it policy saw. */
function resourcesOf(sessionId: string | undefined, request: Json | undefined): Json | undefined {
  const resource = factsIn(factsIn(request)["resource"]);
  const uid = textIn(resource, "path") ?? textIn(resource, "host") ?? textIn(factsIn(resource["facts"]), "purl");
  const all = [
    ...(sessionId === undefined ? [] : [{ type: "session", uid: sessionId }]),
    ...(uid === undefined ? [] : [{ type: textIn(resource, "type") ?? "unknown", uid }]),
  ];
  return all.length === 0 ? undefined : all;
}
