import canonicalize from "canonicalize";
import { present } from "../facts.ts";
import type { AuditRecord, Json } from "../record.ts";
import type { ExportContext } from "./recollection.ts";

/** Open Cybersecurity Schema Framework: its classes, attributes and numbers are those of this version (https://schema.ocsf.io/1.8.0/). */
export const OCSF_VERSION = "1.8.0";

type Attributes = { readonly [name: string]: Json };

export type OcsfEvent = Attributes & {
  readonly class_uid: number;
  readonly category_uid: number;
  readonly activity_id: number;
  readonly type_uid: number;
  readonly severity_id: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly metadata: Attributes;
};

/** What an event of a class is made with. */
export interface OcsfContext extends ExportContext {
  /** With the text that was hashed, so that an event proves by itself that it is in the log. */
  readonly withRaw: boolean;
}

const OTHER = 99;

/** By their captions, which are part of an event, beside the numbers. */
export const CLASSES = {
  base: { uid: 0, name: "Base Event", category: 0, categoryName: "Uncategorized", activities: {} },
  file: {
    ...{ uid: 1001, name: "File System Activity", category: 1, categoryName: "System Activity" },
    activities: { Create: 1, Read: 2, Update: 3 },
  },
  process: {
    ...{ uid: 1007, name: "Process Activity", category: 1, categoryName: "System Activity" },
    activities: { Launch: 1, Terminate: 2 },
  },
  log: {
    ...{ uid: 1008, name: "Event Log Activity", category: 1, categoryName: "System Activity" },
    activities: { Delete: 2, Export: 3, Rotate: 5 },
  },
  finding: {
    ...{ uid: 2004, name: "Detection Finding", category: 2, categoryName: "Findings" },
    activities: { Create: 1 },
  },
  entity: {
    ...{ uid: 3004, name: "Entity Management", category: 3, categoryName: "Identity & Access Management" },
    activities: { Update: 3, Delete: 4, Activate: 10 },
  },
  access: {
    ...{ uid: 3005, name: "User Access Management", category: 3, categoryName: "Identity & Access Management" },
    activities: { "Assign Privileges": 1 },
  },
  network: {
    ...{ uid: 4001, name: "Network Activity", category: 4, categoryName: "Network Activity" },
    activities: { Open: 1, Close: 2, Refuse: 5, Listen: 7 },
  },
  lifecycle: {
    ...{ uid: 6002, name: "Application Lifecycle", category: 6, categoryName: "Application Activity" },
    activities: { Start: 3, Stop: 4, Enable: 6 },
  },
  api: {
    ...{ uid: 6003, name: "API Activity", category: 6, categoryName: "Application Activity" },
    activities: { Create: 1, Read: 2, Update: 3, Delete: 4 },
  },
  hosting: {
    ...{ uid: 6006, name: "File Hosting Activity", category: 6, categoryName: "Application Activity" },
    activities: { Download: 2 },
  },
} as const;
export type ClassName = keyof typeof CLASSES;

const SEVERITIES = { Informational: 1, Low: 2, Medium: 3, High: 4 } as const;
/** `New` is the status of a finding. */
const STATUSES = { Unknown: 0, Success: 1, New: 1, Failure: 2 } as const;
const ACTIONS = { Allowed: 1, Denied: 2, Observed: 3 } as const;
const DISPOSITIONS = { Allowed: 1, Blocked: 2, Approved: 8, Logged: 17, Rejected: 25, Unauthorized: 26 } as const;

export interface Ruling {
  readonly action: keyof typeof ACTIONS;
  readonly disposition: keyof typeof DISPOSITIONS;
}

export interface Told {
  /** One of the class, or another in words. */
  readonly activity: string;
  readonly severity?: keyof typeof SEVERITIES;
  readonly status?: keyof typeof STATUSES;
  /** With it the event is one of the `security_control` profile. */
  readonly ruling?: Ruling;
  /** What the events of one call, or else of one session, have in common. */
  readonly correlation?: string | undefined;
  readonly message: string;
  readonly unmapped?: Attributes;
  readonly attributes: { readonly [name: string]: Json | undefined };
}

/**
 * An event of a class. `main` is the one that stands for the record: its `metadata.uid` is the record's, `<chain>/<seq>`; another event of the
 * same record has its class besides. INVARIANT: no two events of a record are of one class.
 */
export function ocsfEvent(
  record: AuditRecord,
  context: OcsfContext,
  className: ClassName,
  told: Told,
  main = true,
): OcsfEvent {
  const { uid, name, category, categoryName, activities } = CLASSES[className];
  const activity = new Map<string, number>(Object.entries(activities)).get(told.activity) ?? OTHER;
  const { severity = "Informational", status, ruling, message, unmapped, attributes } = told;
  const time = timeOf(record);
  return {
    activity_id: activity,
    activity_name: told.activity,
    category_name: categoryName,
    category_uid: category,
    class_name: name,
    class_uid: uid,
    message,
    metadata: metadata(record, context, told, main ? "" : `/${uid}`),
    severity,
    severity_id: SEVERITIES[severity],
    time,
    type_name: `${name}: ${activity === OTHER ? "Other" : told.activity}`,
    type_uid: uid * 100 + activity,
    ...(status && { status, status_id: STATUSES[status] }),
    ...(ruling && {
      action: ruling.action,
      action_id: ACTIONS[ruling.action],
      disposition: ruling.disposition,
      disposition_id: DISPOSITIONS[ruling.disposition],
    }),
    ...present(attributes),
    ...(unmapped && Object.keys(unmapped).length > 0 && { unmapped }),
    ...raw(record, context),
  };
}

function metadata(
  record: AuditRecord,
  context: OcsfContext,
  { correlation, ruling, attributes }: Told,
  suffix: string,
): Attributes {
  const { chain, seq, time, gateway, body } = record;
  const uid = `${chain}/${seq}`;
  const profiles = [
    ...(attributes["message_context"] === undefined ? [] : ["ai_operation"]),
    "host",
    ...(ruling ? ["security_control"] : []),
  ];
  const code = { intent: "intent", outcome: "outcome", event: body.kind === "event" ? body.event : "" }[body.kind];
  return present({
    correlation_uid: correlation,
    event_code: code,
    log_name: "glovebox-audit",
    log_provider: "Glovebox",
    log_source: gateway,
    log_version: String(record.version),
    logged_time: timeOf(record),
    original_event_uid: uid,
    original_time: time,
    product: present({ name: "Glovebox", vendor_name: "Glovebox", version: context.version(gateway) }),
    profiles,
    sequence: seq,
    uid: `${uid}${suffix}`,
    version: OCSF_VERSION,
  });
}

/** A gateway writes times that there are; the form of a record alone does not say so. */
function timeOf({ time }: AuditRecord): number {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? 0 : ms;
}

/**
 * `raw_data` is the text that the record's hash is of: its line without the member `hash`. So `raw_data_hash` is at once the hash of `raw_data`, as
 * OCSF has it, and the one by which the next record of the chain knows this one.
 */
function raw(record: AuditRecord, { withRaw }: OcsfContext): Attributes {
  const hashed = { algorithm: "SHA-256", algorithm_id: 3, value: record.hash };
  if (!withRaw) return { raw_data_hash: hashed };
  const { hash: _, ...rest } = record;
  const text = canonicalize(rest) ?? "";
  return { raw_data: text, raw_data_hash: hashed, raw_data_size: Buffer.byteLength(text) };
}
