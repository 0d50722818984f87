import { isIP } from "node:net";
import { posix } from "node:path";
import { settles } from "../calls.ts";
import { type Facts, factsIn, numberIn, portIn, textIn, textsIn } from "../facts.ts";
import { inspectedAs } from "../inspected.ts";
import { policiesText } from "../policies-text.ts";
import type { AuditRecord, EventBody, IntentBody, Json, OutcomeBody } from "../record.ts";
import { type CefFields, cefLine } from "./cef-text.ts";
import type { ExportContext, KnownCall } from "./recollection.ts";
import { targetOf } from "./tools.ts";

/** Severities of CEF, 0 to 10: what happens all day, what was refused, what is out of order, what somebody has to look at. */
const ORDINARY = 2;
const REFUSED = 5;
const DISORDER = 6;
const ALARM = 9;

interface Told {
  /** The event class: what rules of a receiver go by. */
  readonly id: string;
  readonly name: string;
  readonly severity: number;
  readonly fields: CefFields;
}

/**
 * A record as one line of the Common Event Format, without a line break. `externalId` is the record's id, `<chain>/<seq>`, `cs5` its hash. What is
 * too long for a field is cut: the line is for finding a record, and the log for reading it.
 */
export function toCef(record: AuditRecord, context: ExportContext): string {
  const { chain, seq, time, gateway, hash } = record;
  const { id, name, severity, fields } = told(record, context);
  const atMs = Date.parse(time);
  return cefLine(["Glovebox", "Glovebox", context.version(gateway) ?? "", id, name, severity], {
    rt: Number.isNaN(atMs) ? 0 : atMs,
    cat: record.body.kind,
    deviceExternalId: gateway,
    externalId: `${chain}/${seq}`,
    ...fields,
    ...labelled("cs5", "recordHash", hash),
  });
}

function told({ body }: AuditRecord, context: ExportContext): Told {
  switch (body.kind) {
    case "intent":
      return toldIntent(body);
    case "outcome":
      return toldOutcome(body, context.call(body.callId));
    case "event":
      return toldEvent(body, context);
  }
}

function toldIntent(body: IntentBody): Told {
  const { decision, tool, principal, callId, sessionId, policies, problems, bundle } = body;
  const refused = decision === "deny" || decision === "invalid";
  const { name, version } = principal.client;
  return {
    id: `intent.${decision}`,
    name: `${tool} was asked for: ${decision}`,
    severity: refused ? REFUSED : ORDINARY,
    fields: {
      act: decision,
      outcome: refused ? "failure" : undefined,
      suser: principal.id,
      sourceServiceName: `${name} ${version}`.trim(),
      destinationServiceName: tool,
      ...pathFields(targetOf(tool, body.arguments)),
      reason: problems[0] ?? policies.find((it) => it.reason !== undefined)?.reason,
      ...ids(callId, sessionId),
      ...labelled("cs3", "policies", policiesText(policies)),
      ...labelled("cs4", "policyDigest", bundle.digest),
      ...labelled("cs6", "arguments", json(body.arguments)),
    },
  };
}

function toldOutcome({ callId, sessionId, status, code, durationMs, facts }: OutcomeBody, call?: KnownCall): Told {
  const known = factsIn(facts);
  const exitCode = numberIn(known, "exitCode");
  return {
    id: `outcome.${status}`,
    name: `${call?.tool ?? "a call"} ended: ${code ?? status}`,
    severity: status === "ok" ? ORDINARY : status === "error" ? REFUSED : DISORDER,
    fields: {
      outcome: status === "ok" ? "success" : "failure",
      suser: call?.principal.id,
      destinationServiceName: call?.tool,
      ...pathFields(call?.target),
      fileHash: textIn(known, "sha256"),
      reason: code,
      msg: textIn(known, "message") ?? textIn(known, "reason"),
      ...ids(callId, sessionId ?? call?.sessionId),
      ...labelled("cs4", "policyDigest", call?.bundle.digest ?? ""),
      ...labelled("cs6", "facts", json(facts)),
      ...numbered("cn1", "durationMs", Math.round(durationMs)),
      ...(exitCode !== undefined && numbered("cn2", "exitCode", exitCode)),
    },
  };
}

const ACTS: Partial<Record<EventBody["event"], { readonly act: string; readonly outcome: string; severity: number }>> =
  {
    "connection-opened": { act: "allowed", outcome: "success", severity: ORDINARY },
    "connection-refused": { act: "blocked", outcome: "failure", severity: REFUSED },
    "placeholder-refused": { act: "blocked", outcome: "failure", severity: ALARM },
    "package-admitted": { act: "allowed", outcome: "success", severity: ORDINARY },
    "package-refused": { act: "blocked", outcome: "failure", severity: REFUSED },
    "approval-requested": { act: "asked", outcome: "", severity: ORDINARY },
    "approval-given": { act: "approved", outcome: "success", severity: ORDINARY },
    "approval-refused": { act: "rejected", outcome: "failure", severity: REFUSED },
    "session-refused": { act: "refused", outcome: "failure", severity: REFUSED },
    "session-lost": { act: "lost", outcome: "failure", severity: DISORDER },
    "policy-rejected": { act: "rejected", outcome: "failure", severity: DISORDER },
    "skill-refused": { act: "refused", outcome: "failure", severity: DISORDER },
    "logging-failed": { act: "failed", outcome: "failure", severity: DISORDER },
    "logging-recovered": { act: "recovered", outcome: "success", severity: ORDINARY },
    "log-recovered": { act: "recovered", outcome: "success", severity: DISORDER },
  };

/** Of an inspection that did not see what it should. */
const INSPECTED = {
  weaker: { act: "ended", outcome: "failure", severity: ALARM },
  unseen: { act: undefined, outcome: "failure", severity: REFUSED },
};

/** The question stays open: this is no refusal, and somebody answered who may not, or not as is asked. */
const UNCOUNTED = { act: "ignored", outcome: "failure", severity: DISORDER };

function toldEvent(body: EventBody, context: ExportContext): Told {
  const { event, facts: all, callId, sessionId } = body;
  const facts = factsIn(all);
  const inspected = inspectedAs(body);
  const isUncounted = event === "approval-refused" && !settles(body);
  const known = isUncounted ? UNCOUNTED : inspected === undefined ? ACTS[event] : INSPECTED[inspected];
  const { act, outcome, severity } = known ?? { act: undefined, outcome: undefined, severity: ORDINARY };
  const calls = textsIn(facts, "calls");
  const call = callId ?? textIn(facts, "callId") ?? calls.join(" ");
  const owner = sessionId === undefined ? undefined : context.session(sessionId)?.owner;
  const user = textIn(facts, "approver") ?? textIn(facts, "by") ?? context.call(call)?.principal.id ?? owner?.id;
  const duration = numberIn(facts, "durationMs");
  const exitCode = numberIn(facts, "exitCode");
  return {
    id: isUncounted ? `${event}.invalid` : event,
    name: isUncounted ? "an answer did not count" : event,
    severity,
    fields: {
      ...{ act, outcome },
      suser: user,
      destinationServiceName: context.call(call)?.tool,
      ...networkFields(facts),
      ...packageFields(facts),
      reason: textIn(facts, "reason") ?? textIn(facts, "why") ?? textIn(facts, "code"),
      msg:
        textIn(facts, "message") ??
        textIn(facts, "problem") ??
        textIn(facts, "comment") ??
        textsIn(facts, "weaker").join("; "),
      ...ids(call, sessionId),
      ...labelled("cs3", "policies", textsIn(facts, "policies").join(" ")),
      ...labelled("cs6", "facts", json(all)),
      ...(duration !== undefined && numbered("cn1", "durationMs", duration)),
      ...(exitCode !== undefined && numbered("cn2", "exitCode", exitCode)),
    },
  };
}

function networkFields(facts: Facts): CefFields {
  const host = textIn(facts, "host");
  const port = portIn(facts, "port");
  const scheme = textIn(facts, "scheme");
  const address = [textIn(facts, "address"), host].find((it) => it !== undefined && isIP(it) !== 0);
  const place = host?.includes(":") ? `[${host}]` : host;
  return {
    app: scheme,
    dhost: host,
    dst: address,
    dpt: port,
    // As seen from the destination: `in` is what flows from the source, which is the sandbox, to it.
    in: numberIn(facts, "sentBytes"),
    out: numberIn(facts, "receivedBytes"),
    request: scheme === undefined || place === undefined ? undefined : `${scheme}://${place}:${port ?? ""}`,
  };
}

function packageFields(facts: Facts): CefFields {
  const purl = textIn(facts, "purl");
  const file = textIn(facts, "file") ?? (textIn(facts, "ecosystem") === undefined ? undefined : textIn(facts, "name"));
  return {
    ...{ fileHash: textIn(facts, "sha256"), fname: file, fsize: numberIn(facts, "bytes") },
    ...(purl !== undefined && { request: purl }),
  };
}

function pathFields(target: KnownCall["target"]): CefFields {
  if (target === undefined || target.kind === "program") return {};
  return { filePath: target.path, fname: posix.basename(target.path) };
}

function ids(callId: string, sessionId: string | undefined): CefFields {
  return { ...labelled("cs1", "callId", callId), ...labelled("cs2", "sessionId", sessionId ?? "") };
}

/** One of the strings that a product may use as it likes; a label without it says nothing. */
function labelled(key: `cs${1 | 2 | 3 | 4 | 5 | 6}`, label: string, value: string): CefFields {
  return value.trim() === "" ? {} : { [key]: value, [`${key}Label`]: label };
}

function numbered(key: `cn${1 | 2}`, label: string, value: number): CefFields {
  return Number.isSafeInteger(value) ? { [key]: value, [`${key}Label`]: label } : {};
}

function json(value: Json): string {
  return JSON.stringify(value);
}
