import { type Facts, factsIn, present, textIn } from "../facts.ts";
import type { AuditRecord, EventBody, Json } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Told } from "./ocsf-event.ts";
import { gatewayOf, userOf } from "./ocsf-parts.ts";

// Entity Management: what a gateway works by is changed. A policy comes into force or can't be used; a person imports advisories, or deletes
// a snapshot, at the command line; bodies of calls are erased, by a person or since they are old.

type Managed = Pick<Told, "activity" | "severity" | "status" | "message"> & {
  readonly entity: { readonly [name: string]: Json };
};

const MANAGED = {
  "policy-loaded": (facts: Facts): Managed => ({
    ...{ activity: "Activate", status: "Success", message: "another policy is in force" },
    entity: policyEntity(factsIn(facts["bundle"]), true),
  }),
  "policy-rejected": (facts: Facts): Managed => ({
    ...{ activity: "Activate", severity: "Medium", status: "Failure", message: "a policy cannot be used" },
    entity: policyEntity(factsIn(facts["inForce"]), true),
  }),
  "advisories-imported": (): Managed => ({
    ...{ activity: "Update", status: "Success", message: "advisories were imported" },
    entity: { name: "advisories", type: "advisories", type_id: 99 },
  }),
  "bodies-erased": (facts: Facts): Managed => ({
    ...{ activity: "Delete", status: "Success" },
    message: facts["why"] === "person" ? "bodies of calls were erased by a person" : "bodies of calls were erased",
    entity: { name: "bodies of calls", type: "bodies", type_id: 99 },
  }),
  "snapshot-deleted": (facts: Facts): Managed => ({
    ...{ activity: "Delete", status: "Success", message: "a snapshot was deleted by a person" },
    entity: present({
      name: textIn(facts, "name") ?? "snapshot",
      ...{ type: "snapshot", type_id: 99, uid: textIn(facts, "id") },
    }),
  }),
};

export type ManagedEvent = keyof typeof MANAGED;

export function entityEvent(
  record: AuditRecord,
  body: EventBody,
  event: ManagedEvent,
  context: OcsfContext,
): OcsfEvent {
  const facts = factsIn(body.facts);
  const { entity, ...told } = MANAGED[event](facts);
  const by = textIn(facts, "by");
  return ocsfEvent(record, context, "entity", {
    ...told,
    unmapped: facts,
    attributes: {
      actor: by === undefined ? gatewayOf(record) : { ...gatewayOf(record), user: userOf(by) },
      entity,
      status_code: textIn(facts, "code"),
      status_detail: textIn(facts, "message"),
    },
  });
}

function policyEntity(bundle: Facts, isApplied: boolean): Managed["entity"] {
  const said = { uid: textIn(bundle, "digest"), version: textIn(bundle, "version") };
  const policy = present({
    is_applied: isApplied,
    name: textIn(bundle, "name"),
    ...said,
    type: "Glovebox policy bundle",
  });
  return { name: textIn(bundle, "name") ?? "policy", policy, type: "Policy", type_id: 5 };
}
