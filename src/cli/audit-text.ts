import pc from "picocolors";
import { opened } from "../audit/calls.ts";
import type { Entry } from "../audit/read.ts";
import type { IntentBody, OutcomeBody } from "../audit/record.ts";
import type { Verification } from "../audit/verify.ts";
import { printable } from "../lib/text.ts";
import type { DecidingPolicy } from "../policy/decision.ts";

// Everything in a record may have been chosen by an agent: none of it reaches the terminal unfiltered.

const colour = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);

/** The record's line with every character that a terminal might act on escaped: the same JSON, with the same hash. */
export function jsonLine({ text }: Pick<Entry, "text">): string {
  return text.replaceAll(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A record in one line. */
export function recordLine({ record: { time, body } }: Entry): string {
  const at = colour.dim(time);
  switch (body.kind) {
    case "intent": {
      const by = body.policies.map(({ id, layer }) => (layer === undefined ? id : `${layer}:${id}`)).join(" ");
      const why = by === "" ? "" : colour.dim(` by ${oneLine(by, 200)}`);
      return `${at} ${oneLine(body.callId, 60)} ${decision(body)} ${oneLine(body.tool, 100)} ${json(body.arguments, 160)}${why}`;
    }
    case "outcome":
      return `${at} ${oneLine(body.callId, 60)} ${ended(body)} ${json(body.facts, 160)}`;
    case "event": {
      const session = body.sessionId === undefined ? "" : ` ${oneLine(body.sessionId, 60)}`;
      return `${at} ${colour.cyan(body.event)}${session} ${json(body.facts, 200)}`;
    }
  }
}

/** A call's records as a person would tell them. */
export function storyLines(callId: string, story: readonly Entry[]): string[] {
  const bodies = story.map(({ record }) => record.body);
  const intent = bodies.find((it) => it.kind === "intent");
  const lines = [colour.bold(oneLine(callId, 60))];
  for (const { record } of story) {
    const { body, time } = record;
    const place = colour.dim(`record ${record.seq} of ${oneLine(record.chain, 60)}, ${record.hash}`);
    lines.push("", `${colour.dim(time)}  ${headline(record.body)}`);
    if (body.kind === "intent") lines.push(...intentLines(body));
    else lines.push(...indented(body.facts));
    lines.push(`  ${place}`);
  }
  const runs = bodies.some((it) => opened(it) === callId);
  if (runs && !bodies.some((it) => it.kind === "outcome")) {
    lines.push(
      "",
      "no outcome yet: it is running, or its gateway died and the next start will record it as interrupted",
    );
  } else if (intent && !runs) {
    const waits =
      intent.decision === "ask" && !bodies.some((it) => it.kind === "event" && it.event === "approval-refused");
    lines.push(
      "",
      waits ? "nothing was executed: a person is asked, or was when the gateway died" : "nothing was executed",
    );
  }
  return lines;
}

export function verificationLines({ chains, records, problems, problemCount }: Verification): string[] {
  const lines = problems.map(({ kind, chain, file, line, seq, message }) => {
    const place = [chain, file].filter((it) => it !== "").join("/");
    const where = `${oneLine(place, 200)}${line === 0 ? "" : `:${line}`}${seq === undefined ? "" : ` record ${seq}`}`;
    return `${colour.red(kind)} ${where}: ${oneLine(message, 300)}`;
  });
  if (problemCount > problems.length) lines.push(`and ${problemCount - problems.length} more`);
  const verdict = problemCount === 0 ? colour.green("the log is whole") : colour.red(counted(problemCount, "problem"));
  return [...lines, `${verdict}: ${counted(records, "record")} in ${counted(chains, "chain")}`];
}

function headline(body: Entry["record"]["body"]): string {
  switch (body.kind) {
    case "intent":
      return `${oneLine(body.tool, 100)} was asked for: ${decision(body)}`;
    case "outcome":
      return `ended: ${ended(body)}`;
    case "event":
      return `${colour.cyan(body.event)} ${oneLine(body.sessionId ?? "", 60)}`;
  }
}

function intentLines({ principal, sessionId, policies, problems, bundle, shadow, ...intent }: IntentBody): string[] {
  const { name, version } = principal.client;
  const session = sessionId === undefined ? "" : `, session ${oneLine(sessionId, 60)}`;
  return [
    `  by ${oneLine(principal.id, 100)} through ${oneLine(`${name} ${version}`, 100)}${session}`,
    ...indented(intent.arguments),
    ...policies.map((it) => `  ${policyText(it)}`),
    ...(shadow ?? []).flatMap(({ would, policies: due, problems: wrong }) => [
      ...due.map((it) => `  would ${would}, in shadow mode: ${policyText(it)}`),
      ...wrong.map((it) => `  would ${would}, in shadow mode: problem: ${oneLine(it, 2_000)}`),
    ]),
    ...problems.map((problem) => `  problem: ${oneLine(problem, 2_000)}`),
    colour.dim(`  policy ${oneLine(`${bundle.name} ${bundle.version} ${bundle.digest}`, 300)}`),
  ];
}

function policyText({ id, effect, reason, layer }: DecidingPolicy): string {
  const where = layer === undefined ? "" : ` of the ${layer}`;
  const why = reason === undefined ? "" : `: ${oneLine(reason, 500)}`;
  return `${effect} ${oneLine(id, 200)}${where}${why}`;
}

function decision({ decision: it }: IntentBody): string {
  if (it === "ask") return colour.yellow(it);
  return it === "permit" ? colour.green(it) : colour.red(it);
}

function ended({ status, code, durationMs }: OutcomeBody): string {
  if (status === "interrupted") return colour.red(status);
  const how = status === "ok" ? colour.green(status) : colour.red(oneLine(code ?? status, 60));
  return `${how} after ${durationMs} ms`;
}

function indented(value: unknown): string[] {
  return printable(JSON.stringify(value, null, 2), 100_000)
    .split("\n")
    .map((line) => `  ${line}`);
}

function json(value: unknown, maxChars: number): string {
  return oneLine(JSON.stringify(value), maxChars);
}

export function oneLine(text: string, maxChars: number): string {
  return printable(text, maxChars).replaceAll(/[\n\t]/g, " ");
}

export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
