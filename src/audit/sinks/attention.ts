import { inspectedAs } from "../inspected.ts";
import type { RecordBody } from "../record.ts";

/** Whether a record is of something that was refused, failed or was lost: what receivers show as a warning. */
export function wantsAttention(body: RecordBody): boolean {
  if (body.kind === "intent") return body.decision === "deny" || body.decision === "invalid";
  if (body.kind === "outcome") return body.status !== "ok";
  return /-(?:refused|rejected|lost|recovered)$/.test(body.event) || inspectedAs(body) !== undefined;
}
