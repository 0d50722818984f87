import { factsIn, numberIn, present, textIn } from "../facts.ts";
import type { AuditRecord, EventBody, Json } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent, type Ruling } from "./ocsf-event.ts";
import { actorIn, bundlePolicy, callerOf, sandboxOf } from "./ocsf-parts.ts";
import type { KnownCall } from "./recollection.ts";

// Process Activity: a program of `exec` or `shell` is launched when its call is permitted, by policy or by a person, and terminated when the
// log says that it ended. The call's id is the process's: the log knows no other before it runs.

const SPAWN = { launch_type: "Spawn", launch_type_id: 1 };

/** `undefined` for calls that start no program. */
export function launchEvent(
  record: AuditRecord,
  callId: string,
  call: KnownCall,
  ruling: Ruling,
  context: OcsfContext,
): OcsfEvent | undefined {
  const { target, sessionId, principal, bundle, tool } = call;
  if (target?.kind !== "program") return undefined;
  const denied = ruling.action === "Denied";
  return ocsfEvent(
    record,
    context,
    "process",
    {
      activity: "Launch",
      severity: denied ? "Low" : "Informational",
      status: denied ? "Failure" : "Unknown",
      ruling,
      correlation: callId,
      message: `${tool}: ${target.name} is ${denied ? "not started" : "to be started"}`,
      attributes: {
        actor: callerOf(principal, sessionId),
        device: sandboxOf(sessionId, sessionId === undefined ? undefined : context.session(sessionId)),
        policy: bundlePolicy(bundle),
        process: processOf(callId, call),
        ...SPAWN,
      },
    },
    false,
  );
}

/** Of `process-ended`, the main event. */
export function terminateEvent(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const facts = factsIn(body.facts);
  const callId = textIn(facts, "callId");
  const call = callId === undefined ? undefined : context.call(callId);
  const sessionId = body.sessionId ?? call?.sessionId;
  const known = sessionId === undefined ? undefined : context.session(sessionId);
  const endedBy = textIn(facts, "endedBy");
  const exitCode = numberIn(facts, "exitCode");
  const { durationMs: _, exitCode: __, callId: ___, ...rest } = facts;
  return ocsfEvent(record, context, "process", {
    activity: "Terminate",
    status: endedBy === undefined ? "Unknown" : endedBy === "exit" && exitCode === 0 ? "Success" : "Failure",
    correlation: callId ?? sessionId,
    message: `a process ended: ${endedBy ?? "unknown"}${exitCode === undefined ? "" : `, exit code ${exitCode}`}`,
    unmapped: rest,
    attributes: {
      actor: call ? callerOf(call.principal, sessionId) : actorIn(record, known),
      device: sandboxOf(sessionId, known),
      duration: numberIn(facts, "durationMs"),
      exit_code: exitCode,
      process: processOf(callId ?? textIn(facts, "processId") ?? "unknown", call),
      status_detail: endedBy,
    },
  });
}

function processOf(uid: string, call: KnownCall | undefined): Json {
  const target = call?.target?.kind === "program" ? call.target : undefined;
  return present({
    cmd_line: target?.commandLine,
    name: target?.name,
    sandbox: call?.sessionId,
    uid,
    working_directory: target?.directory,
  });
}
