import { namedIn } from "../audit/bodies/read.ts";
import { opened, settles } from "../audit/calls.ts";
import type { Entry } from "../audit/read.ts";
import type { IntentBody, RecordBody } from "../audit/record.ts";
import { MAX_CALLS, MAX_RECORDS, type Story } from "../audit/story.ts";
import { printable } from "../lib/text.ts";
import type { DecidingPolicy } from "../policy/decision.ts";
import { headOf, sessionHead } from "./audit-story-head.ts";
import { colour, decisionText, endedText, oneLine, recordLine } from "./audit-text.ts";

// Everything in a record may have been chosen by an agent: none of it reaches the terminal unfiltered.

const MAX_HEAD_CHARS = 600;
/** Of a story that is cut. */
export const MORE = "there is more than is told: `glovebox audit show <id> --json` has all of it";
const CUT = `this is the beginning, ${MAX_RECORDS} records or ${MAX_CALLS} calls: what is counted below is at least so much`;

const UNEXPLAINED = "it has an outcome, and nothing on record let it run: run `glovebox audit verify`";

/** What the log has of an id, as a person would tell it: in short first, then record by record. */
export function storyLines({ kind, id, entries, isCut }: Story): string[] {
  const more = isCut ? ["", MORE] : [];
  const title = [colour.bold(`${kind} ${oneLine(id, 60)}`), ...head(isCut ? [["cut", CUT]] : [])];
  if (kind === "call")
    return [...title, ...head(headOf(id, entries)), ...told(entries), ...verdict(id, entries), ...more];
  if (kind === "session") return [...title, ...head(sessionHead(entries)), "", ...entries.map(recordLine), ...more];
  return [...title, ...head(partOf(entries)), ...told(entries), ...more];
}

function head(lines: readonly [string, string][]): string[] {
  return lines.map(([label, text]) => `  ${colour.dim(label.padEnd(8))}  ${oneLine(text, MAX_HEAD_CHARS)}`);
}

/** Of a connection, process, machine, snapshot or approval: where it belongs. */
function partOf(entries: readonly Entry[]): [string, string][] {
  const bodies = entries.map(({ record }) => record.body);
  const calls = bodies.filter((it) => it.kind === "intent").map((it) => `${it.callId} (${it.tool})`);
  const session = bodies.map((it) => it.sessionId).find((it) => it !== undefined);
  return [
    ["calls", calls.length === 0 ? "none that the log names" : calls.join(", ")],
    ...(session === undefined ? [] : ([["session", session]] satisfies [string, string][])),
  ];
}

function told(story: readonly Entry[]): string[] {
  return story.flatMap(({ record }) => {
    const { body, time, seq, chain, hash } = record;
    return [
      "",
      `${colour.dim(time)}  ${headline(body)}`,
      ...(body.kind === "intent" ? intentLines(body) : indented(body.facts)),
      ...bodyLine(body),
      colour.dim(`  record ${seq} of ${oneLine(chain, 60)}, ${hash}`),
    ];
  });
}

/** Where what went in, or came out, is found. */
function bodyLine(body: RecordBody): string[] {
  const named = namedIn(body);
  if (!named) return [];
  const { callId, name, kept } = named;
  if ("lost" in kept) return [colour.red(`  the ${name} could not be kept: ${oneLine(kept.lost, 300)}`)];
  return [colour.dim(`  glovebox audit bodies show ${oneLine(callId, 60)} ${name}`)];
}

/** Of a call that has no outcome, or one that it should not have. */
function verdict(callId: string, story: readonly Entry[]): string[] {
  const bodies = story.map(({ record }) => record.body).filter((it) => it.callId === callId);
  const intent = bodies.find((it) => it.kind === "intent");
  const runs = bodies.some((it) => opened(it) === callId);
  const hasEnded = bodies.some((it) => it.kind === "outcome");
  if (runs)
    return hasEnded
      ? []
      : ["", "no outcome yet: it is running, or its gateway died and the next start will record it as interrupted"];
  if (hasEnded) return ["", colour.red(UNEXPLAINED)];
  if (!intent) return [];
  const refused = bodies.some((it) => it.kind === "event" && it.event === "approval-refused" && settles(it));
  const waits = intent.decision === "ask" && !refused;
  return ["", waits ? "nothing was executed: a person is asked, or was when the gateway died" : "nothing was executed"];
}

function headline(body: Entry["record"]["body"]): string {
  switch (body.kind) {
    case "intent":
      return `${oneLine(body.tool, 100)} was asked for: ${decisionText(body)}`;
    case "outcome":
      return `ended: ${endedText(body)}`;
    case "event":
      return `${colour.cyan(body.event)} ${oneLine(body.sessionId ?? "", 60)}`;
  }
}

function intentLines(body: IntentBody): string[] {
  const { principal, sessionId, policies, problems, bundle, shadow } = body;
  const { name, version } = principal.client;
  const session = sessionId === undefined ? "" : `, session ${oneLine(sessionId, 60)}`;
  return [
    `  by ${oneLine(principal.id, 100)} through ${oneLine(`${name} ${version}`, 100)}${session}`,
    ...indented(body.arguments),
    ...policies.map((it) => `  ${policyText(it)}`),
    ...(shadow ?? []).flatMap(({ would, policies: due, problems: wrong }) => [
      ...due.map((it) => `  would ${would}, in shadow mode: ${policyText(it)}`),
      ...wrong.map((it) => `  would ${would}, in shadow mode: problem: ${oneLine(it, 2_000)}`),
    ]),
    ...problems.map((problem) => `  problem: ${oneLine(problem, 2_000)}`),
    colour.dim(`  policy ${oneLine(`${bundle.name} ${bundle.version} ${bundle.digest}`, 300)}`),
    ...clientLines(body),
  ];
}

/** By what the client knows the call, in its own words. */
function clientLines({ requestId, trace }: IntentBody): string[] {
  return [
    ...(requestId === undefined ? [] : [`  the client's request ${oneLine(requestId, 200)}`]),
    ...(trace === undefined ? [] : [`  the client's traceparent ${oneLine(trace.traceparent, 200)}`]),
    ...(trace?.tracestate === undefined ? [] : [`  the client's tracestate ${oneLine(trace.tracestate, 1_024)}`]),
  ].map((it) => colour.dim(it));
}

function policyText({ id, effect, reason, layer }: DecidingPolicy): string {
  const where = layer === undefined ? "" : ` of the ${layer}`;
  const why = reason === undefined ? "" : `: ${oneLine(reason, 500)}`;
  return `${effect} ${oneLine(id, 200)}${where}${why}`;
}

function indented(value: unknown): string[] {
  return printable(JSON.stringify(value, null, 2), 100_000)
    .split("\n")
    .map((line) => `  ${line}`);
}
