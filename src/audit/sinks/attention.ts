import { inspectedAs } from "../inspected.ts";
import type { EventBody, RecordBody } from "../record.ts";

/**
 * Events of what somebody did not get or lost, of a failure, and of damage that a crash has left. By their names: words recur in others that
 * mean the opposite, as in `log-recovered`, after a crash, and `logging-recovered`, when all is well again.
 */
const WARNINGS: ReadonlySet<EventBody["event"]> = new Set<EventBody["event"]>([
  "approval-refused",
  "connection-refused",
  "log-recovered",
  "logging-failed",
  "package-refused",
  "placeholder-refused",
  "policy-rejected",
  "session-lost",
  "session-refused",
  "skill-refused",
]);

/** Whether a record is of something that was refused, failed or was lost: what receivers show as a warning. */
export function wantsAttention(body: RecordBody): boolean {
  if (body.kind === "intent") return body.decision === "deny" || body.decision === "invalid";
  if (body.kind === "outcome") return body.status !== "ok";
  return WARNINGS.has(body.event) || inspectedAs(body) !== undefined;
}
