import pc from "picocolors";
import { policiesText } from "../audit/policies-text.ts";
import type { Entry } from "../audit/read.ts";
import type { IntentBody, OutcomeBody } from "../audit/record.ts";
import type { Problem, Verification } from "../audit/verification.ts";
import { printable } from "../lib/text.ts";

// Everything in a record may have been chosen by an agent: none of it reaches the terminal unfiltered.

/** Chains of which a person is told one by one whose they are. */
const MAX_OWNERS = 100;

export const colour = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);

/** The record's line with every character that a terminal might act on escaped: the same JSON, with the same hash. */
export function jsonLine({ text }: Pick<Entry, "text">): string {
  return text.replaceAll(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A value of ours that holds what records say, for programs and eyes alike. */
export function jsonText(value: object): string {
  return jsonLine({ text: JSON.stringify(value, null, 2) });
}

/** A record in one line. */
export function recordLine({ record: { time, body } }: Pick<Entry, "record">): string {
  const at = colour.dim(time);
  switch (body.kind) {
    case "intent": {
      const by = policiesText(body.policies);
      const why = by === "" ? "" : colour.dim(` by ${oneLine(by, 200)}`);
      return `${at} ${oneLine(body.callId, 60)} ${decisionText(body)} ${oneLine(body.tool, 100)} ${argumentsText(body.arguments, 160)}${why}`;
    }
    case "outcome":
      return `${at} ${oneLine(body.callId, 60)} ${endedText(body)} ${argumentsText(body.facts, 160)}`;
    case "event": {
      const session = body.sessionId === undefined ? "" : ` ${oneLine(body.sessionId, 60)}`;
      return `${at} ${colour.cyan(body.event)}${session} ${argumentsText(body.facts, 200)}`;
    }
  }
}

export function problemLine({ kind, chain, file, line, seq, message }: Problem): string {
  const place = [chain, file].filter((it) => it !== "").join("/");
  const where = `${oneLine(place, 200)}${line === 0 ? "" : `:${line}`}${seq === undefined ? "" : ` record ${seq}`}`;
  return `${colour.red(kind)} ${where}: ${oneLine(message, 300)}`;
}

type ProofSummary = Pick<Verification, "checkpoints" | "unproven" | "signatures" | "gateways">;

export function verificationLines(verification: Verification): string[] {
  const { chains, records, problems, problemCount } = verification;
  const lines = problems.map(problemLine);
  if (problemCount > problems.length) lines.push(`and ${problemCount - problems.length} more`);
  const verdict = problemCount === 0 ? colour.green("the log is whole") : colour.red(counted(problemCount, "problem"));
  return [
    ...lines,
    ...proofLines(verification),
    ...truncationLines(verification),
    `${verdict}: ${counted(records, "record")} in ${counted(chains, "chain")}`,
  ];
}

/** What was signed of it; nothing of a log without checkpoints that nobody asked about. */
export function proofLines({ checkpoints, unproven, signatures, gateways }: ProofSummary): string[] {
  if (checkpoints === 0 && signatures === "not-checked") return [];
  const owners = Object.entries(gateways).map(
    ([chain, gateway]) => `${oneLine(chain, 100)} is signed by ${oneLine(gateway, 100)}`,
  );
  const names = [...new Set(Object.values(gateways))].map((it) => oneLine(it, 100)).join(", ");
  const by =
    signatures === "not-checked"
      ? "signatures were not checked: give the gateways' keys with --keys"
      : names === ""
        ? "signed by nobody that is known"
        : `signed by ${names}`;
  return [
    ...owners.slice(0, MAX_OWNERS),
    ...(owners.length > MAX_OWNERS ? [`and ${owners.length - MAX_OWNERS} more: --json names them`] : []),
    `${counted(checkpoints, "checkpoint")} ${checkpoints === 1 ? "holds" : "hold"}, ${by}`,
    ...(unproven > 0 ? [`not yet proven: ${counted(unproven, "record")} that no checkpoint covers`] : []),
  ];
}

/** What is not there any more, by rule. */
export function truncationLines({
  truncated,
  incomparable,
}: Pick<Verification, "truncated" | "incomparable">): string[] {
  const lines = Object.entries(truncated).map(
    ([chain, { records, before }]) =>
      `${oneLine(chain, 60)}: ${counted(records, "record")} from before ${oneLine(before, 40)} were removed by rule, as a signed record says`,
  );
  if (incomparable === 0) return lines;
  const are = incomparable === 1 ? "is" : "are";
  return [...lines, `${counted(incomparable, "kept checkpoint")} ${are} of removed records, and could not be compared`];
}

export function decisionText({ decision: it }: IntentBody): string {
  if (it === "ask") return colour.yellow(it);
  return it === "permit" ? colour.green(it) : colour.red(it);
}

export function endedText({ status, code, durationMs }: OutcomeBody): string {
  if (status === "interrupted") return colour.red(status);
  const how = status === "ok" ? colour.green(status) : colour.red(oneLine(code ?? status, 60));
  return `${how} after ${durationMs} ms`;
}

export function argumentsText(value: unknown, maxChars: number): string {
  return oneLine(JSON.stringify(value), maxChars);
}

export function oneLine(text: string, maxChars: number): string {
  return printable(text, maxChars).replaceAll(/[\n\t]/g, " ");
}

export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
