import { type Facts, factsIn, present, textIn, textsIn } from "../facts.ts";
import { inspectedAs } from "../inspected.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Told } from "./ocsf-event.ts";
import { actorIn, gatewayOf, sandboxOf } from "./ocsf-parts.ts";

// Application Lifecycle: gateways, sandboxes and skills start, stop and fail to. The application is the thing itself, by its id.

type Kind = Pick<Told, "activity" | "severity" | "status"> & {
  readonly of: "gateway" | "sandbox" | "skill";
  readonly what: string;
};

const KINDS = {
  "gateway-started": { of: "gateway", activity: "Start", status: "Success", what: "a gateway started" },
  "gateway-stopped": { of: "gateway", activity: "Stop", status: "Success", what: "the gateway stopped" },
  reconciled: {
    ...{ of: "gateway", activity: "Clean Up", status: "Success" },
    what: "what dead gateways had left behind was removed",
  },
  "session-opened": { of: "sandbox", activity: "Start", status: "Success", what: "a session has its sandbox" },
  "session-closed": { of: "sandbox", activity: "Stop", status: "Success", what: "a session was closed" },
  "session-hibernated": {
    ...{ of: "sandbox", activity: "Hibernate", status: "Success" },
    what: "an idle sandbox was put on disk",
  },
  "session-woken": { of: "sandbox", activity: "Wake", status: "Success", what: "a sandbox goes on in another machine" },
  "session-lost": {
    ...{ of: "sandbox", activity: "Stop", severity: "Medium", status: "Failure" },
    what: "a sandbox ended by itself",
  },
  "session-refused": {
    ...{ of: "sandbox", activity: "Start", severity: "Low", status: "Failure" },
    what: "a session got no sandbox",
  },
  "session-inspected": {
    ...{ of: "sandbox", activity: "Inspect", status: "Success" },
    what: "a sandbox was looked at from outside of its container",
  },
  "skill-refused": {
    ...{ of: "skill", activity: "Enable", severity: "Medium", status: "Failure" },
    what: "a skill is not used",
  },
} as const satisfies Record<string, Kind>;

/** Of an inspection that did not see what it should. */
const INSPECTED = {
  weaker: { severity: "High", status: "Failure", what: "a sandbox is confined less than it was made, and is ended" },
  unseen: { severity: "Medium", status: "Failure", what: "a sandbox could not be looked at" },
} as const;

export type LifecycleEvent = keyof typeof KINDS;

export function lifecycleEvent(
  record: AuditRecord,
  body: EventBody,
  event: LifecycleEvent,
  context: OcsfContext,
): OcsfEvent {
  const inspected = inspectedAs(body);
  const kind: Kind = { ...KINDS[event], ...(inspected && INSPECTED[inspected]) };
  const { of, what, ...told } = kind;
  const facts = factsIn(body.facts);
  const { sessionId } = body;
  const known = sessionId === undefined ? undefined : context.session(sessionId);
  const apps = {
    gateway: { name: "Glovebox", uid: record.gateway, version: textIn(facts, "version") },
    sandbox: { name: "Glovebox sandbox", uid: sessionId },
    skill: { name: textIn(facts, "skill") ?? "unknown skill", uid: textIn(facts, "digest") },
  };
  const user = event === "gateway-started" ? textIn(facts, "user") : undefined;
  return ocsfEvent(record, context, "lifecycle", {
    ...told,
    correlation: sessionId,
    message: what,
    unmapped: facts,
    attributes: {
      actor: {
        ...(of === "sandbox" ? actorIn(record, known) : gatewayOf(record)),
        ...(user !== undefined && { user: { name: user, type: "User", type_id: 1 } }),
      },
      app: present({ vendor_name: "Glovebox", ...apps[of] }),
      device: of === "sandbox" ? sandboxOf(sessionId, known) : undefined,
      status_code: textIn(facts, "code"),
      status_detail: textIn(facts, "message") ?? textIn(facts, "why") ?? weakerIn(facts) ?? textIn(facts, "problem"),
    },
  });
}

function weakerIn(facts: Facts): string | undefined {
  const weaker = textsIn(facts, "weaker");
  return weaker.length > 0 ? weaker.join("; ") : undefined;
}
