import { posix } from "node:path";
import { type Facts, numberIn, present, textIn } from "../facts.ts";
import type { AuditRecord, Json } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Ruling, type Told } from "./ocsf-event.ts";
import { bundlePolicy, callerOf, contentHash, sandboxOf } from "./ocsf-parts.ts";
import type { KnownCall } from "./recollection.ts";
import { toolOf } from "./tools.ts";

// File System Activity: one event for each call of a file tool, by the record that settles it: its denial, or its outcome, which alone knows
// whether a file was made or changed, its size and digest.

const TYPES = { file: { type: "Regular File", type_id: 1 }, folder: { type: "Folder", type_id: 2 } };

export interface FileAct {
  readonly ruling: Ruling;
  readonly status: NonNullable<Told["status"]>;
  /** Of the outcome. */
  readonly facts: Facts;
  readonly code?: string;
}

/** `undefined` for calls that work on no file. */
export function fileEvent(
  record: AuditRecord,
  callId: string,
  call: KnownCall,
  { ruling, status, facts, code }: FileAct,
  context: OcsfContext,
): OcsfEvent | undefined {
  const { target, sessionId, principal, bundle, tool } = call;
  if (target === undefined || target.kind === "program") return undefined;
  const { path, kind } = target;
  return ocsfEvent(
    record,
    context,
    "file",
    {
      activity: activityOf(tool, facts),
      severity: status === "Failure" ? "Low" : "Informational",
      status,
      ruling,
      correlation: callId,
      message: `${tool} of ${path}: ${ruling.action === "Denied" ? "denied" : (code ?? status.toLowerCase())}`,
      attributes: {
        actor: callerOf(principal, sessionId),
        component: textIn(facts, "to"),
        device: sandboxOf(sessionId, sessionId === undefined ? undefined : context.session(sessionId)),
        file: fileOf(path, kind, facts),
        policy: bundlePolicy(bundle),
        status_code: code,
      },
    },
    false,
  );
}

function activityOf(tool: string, facts: Facts): string {
  const does = toolOf(tool)?.does;
  if (does === "read") return "Read";
  return does === "create" || facts["created"] === true ? "Create" : "Update";
}

function fileOf(path: string, kind: "file" | "folder", facts: Facts): Json {
  const content = contentHash(facts);
  const parent = posix.dirname(path);
  return present({
    hashes: content && [content],
    name: posix.basename(path) || path,
    parent_folder: parent,
    path,
    size: kind === "file" ? numberIn(facts, "bytes") : undefined,
    ...TYPES[kind],
  });
}
