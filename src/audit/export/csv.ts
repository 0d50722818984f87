import { type Cell, csvText } from "../../lib/csv.ts";
import { factsIn, numberIn } from "../facts.ts";
import { policiesText } from "../policies-text.ts";
import type { AuditRecord } from "../record.ts";

const HEADER = [
  ...["id", "hash", "time", "gateway", "kind", "event", "call", "session", "principal", "client", "clientVersion"],
  ...["tool", "decision", "policies", "problems", "status", "code", "exitCode", "durationMs", "arguments", "facts"],
] as const;

/** The first line of a table of records; the line feed that follows it is for who writes it, as with `toCsv`. */
export const CSV_HEADER: string = lineOf(HEADER);

/** A record as a line of a table for spreadsheets (RFC 4180): what is of no such record is empty, and no cell is a formula. */
export function toCsv({ chain, seq, hash, time, gateway, body }: AuditRecord): string {
  const intent = body.kind === "intent" ? body : undefined;
  const outcome = body.kind === "outcome" ? body : undefined;
  const facts = body.kind === "intent" ? undefined : JSON.stringify(body.facts);
  const { principal } = intent ?? {};
  return lineOf([
    ...[`${chain}/${seq}`, hash, time, gateway, body.kind, body.kind === "event" ? body.event : undefined],
    ...[body.callId, body.sessionId, principal?.id, principal?.client.name, principal?.client.version],
    ...[intent?.tool, intent?.decision, intent && policiesText(intent.policies), intent?.problems.join("; ")],
    ...[
      outcome?.status,
      outcome?.code,
      numberIn(factsIn(outcome?.facts), "exitCode"),
      outcome?.durationMs,
      intent && JSON.stringify(intent.arguments),
      facts,
    ],
  ]);
}

function lineOf(cells: readonly Cell[]): string {
  return csvText([cells]).slice(0, -1);
}
