import type { Hit } from "../audit/index/query.ts";
import type { ReadBack } from "../audit/index/read-back.ts";
import { isObject } from "../audit/index/walk.ts";
import { policiesText } from "../audit/policies-text.ts";
import type { Entry } from "../audit/read.ts";
import type { OutcomeBody, RecordBody } from "../audit/record.ts";
import type { Cell } from "../lib/csv.ts";
import { argumentsText, decisionText, endedText, jsonLine, oneLine, recordLine } from "./audit-text.ts";

/** A record that was found, and of a call how it ended, as the log has them. */
export interface Found {
  readonly hit: Hit;
  readonly read: ReadBack;
  readonly outcome?: ReadBack;
}

const PROBLEMS = {
  gone: "the log has it no more",
  differs: "the log has something else in its place: run `glovebox audit verify`",
} as const;

/** One line for a person. */
export function foundLine({ hit, read, outcome }: Found): string {
  if ("problem" in read) return `${new Date(hit.timeMs).toISOString()} ${hit.position}: ${PROBLEMS[read.problem]}`;
  const { body, time } = read.record;
  if (hit.outcome === undefined || body.kind !== "intent") return recordLine(read);
  const what = `${oneLine(body.callId, 60)} ${decisionText(body)} ${oneLine(body.tool, 100)}`;
  return `${time} ${what} ${argumentsText(body.arguments, 160)} → ${endText(outcome)}`;
}

function endText(outcome: ReadBack | undefined): string {
  if (outcome === undefined || "problem" in outcome) return `its outcome: ${PROBLEMS[outcome?.problem ?? "gone"]}`;
  const { body } = outcome.record;
  if (body.kind !== "outcome") return "";
  const exit = exitCodeOf(body);
  return `${endedText(body)}${exit === undefined ? "" : `, exit code ${exit}`}`;
}

/** One line for a program: in the view of records the log's own, of calls what belongs together. */
export function foundJson({ hit, read, outcome }: Found, view: "calls" | "records"): string {
  const { position } = hit;
  if ("problem" in read) return jsonLine({ text: JSON.stringify({ position, problem: read.problem }) });
  if (view === "records") return jsonLine(read);
  const members = [`"position":${JSON.stringify(position)}`, `"${hit.kind}":${read.text}`];
  if (outcome && "problem" in outcome) members.push(`"problem":"outcome ${outcome.problem}"`);
  else if (outcome) members.push(`"outcome":${outcome.text}`);
  return jsonLine({ text: `{${members.join()}}` });
}

export const CSV_HEADER = [
  ...["position", "time", "kind", "event", "call", "session", "principal", "client", "tool", "decision", "policies"],
  ...["problems", "status", "code", "exitCode", "durationMs", "arguments", "facts", "problem"],
] as const;

/** A row of cells under `CSV_HEADER`. */
export function foundCells({ hit, read, outcome }: Found): Cell[] {
  const own = "problem" in read ? undefined : read.record.body;
  const end = own?.kind === "outcome" ? own : bodyOf(outcome);
  const ended = end?.kind === "outcome" ? end : undefined;
  const intent = own?.kind === "intent" ? own : undefined;
  const facts = own?.kind === "event" ? own.facts : ended?.facts;
  const problem =
    "problem" in read ? read.problem : outcome && "problem" in outcome ? `outcome ${outcome.problem}` : "";
  return [
    ...[hit.position, new Date(hit.timeMs).toISOString(), hit.kind, own?.kind === "event" ? own.event : undefined],
    ...[
      own?.callId,
      own?.sessionId,
      intent?.principal.id,
      intent?.principal.client.name,
      intent?.tool,
      intent?.decision,
    ],
    ...[
      intent && policiesText(intent.policies),
      intent?.problems.join("; "),
      ended?.status,
      ended?.code,
      ended && exitCodeOf(ended),
      ended?.durationMs,
    ],
    ...[intent && JSON.stringify(intent.arguments), facts === undefined ? undefined : JSON.stringify(facts), problem],
  ];
}

function bodyOf(read: ReadBack | undefined): RecordBody | undefined {
  return read === undefined || "problem" in read ? undefined : (read satisfies Entry).record.body;
}

function exitCodeOf({ facts }: OutcomeBody): number | undefined {
  const exitCode = isObject(facts) ? facts["exitCode"] : undefined;
  return typeof exitCode === "number" ? exitCode : undefined;
}
