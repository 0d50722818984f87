import { opened } from "../audit/calls.ts";
import { type Facts, factsIn, numberIn, textIn, textsIn } from "../audit/facts.ts";
import type { Entry } from "../audit/read.ts";
import type { EventBody, IntentBody, OutcomeBody } from "../audit/record.ts";
import { oneLine } from "./audit-text.ts";

/** More of a kind are counted. */
const MAX_NAMED = 5;

type Body = Entry["record"]["body"];

/** The head of a call's story: label and text. Nothing of it is filtered for a terminal yet. */
export function headOf(callId: string, story: readonly Entry[]): [label: string, text: string][] {
  const bodies = story.map(({ record }) => record.body);
  const intent = bodies.find((it) => it.kind === "intent" && it.callId === callId) as IntentBody | undefined;
  const outcome = bodies.find((it) => it.kind === "outcome" && it.callId === callId) as OutcomeBody | undefined;
  const lines: [string, string | undefined][] = [
    ["who", intent && whoOf(intent)],
    ["what", intent && `${intent.tool} ${JSON.stringify(intent.arguments)}`],
    ["decision", intent && decisionOf(intent, callId, bodies)],
    ["ended", endOf(callId, bodies, outcome)],
    ["out", outOf(bodies)],
    ["in", inOf(bodies)],
    ["sandbox", sandboxOf(bodies)],
    ["gateway", gatewayOf(story, intent)],
  ];
  return lines.filter((it): it is [string, string] => it[1] !== undefined);
}

/** A session's: who, where, and what was made of it. */
export function sessionHead(story: readonly Entry[]): [label: string, text: string][] {
  const bodies = story.map(({ record }) => record.body);
  const intents = bodies.filter((it) => it.kind === "intent");
  const [first] = intents;
  const denied = intents.filter((it) => it.decision === "deny" || it.decision === "invalid").length;
  const [begin] = story;
  const end = story.at(-1);
  const lines: [string, string | undefined][] = [
    ["who", first && whoOf(first)],
    ["calls", `${intents.length}, of which ${denied} denied`],
    ["from", begin && `${begin.record.time} to ${end?.record.time}`],
    ["out", outOf(bodies)],
    ["in", inOf(bodies)],
    ["sandbox", sandboxOf(bodies)],
    ["gateway", gatewayOf(story, first)],
  ];
  return lines.filter((it): it is [string, string] => it[1] !== undefined);
}

function whoOf({ principal, sessionId }: IntentBody): string {
  const { name, version } = principal.client;
  const session = sessionId === undefined ? "" : `, session ${sessionId}`;
  return `${principal.id} through ${name} ${version} over ${principal.transport}${session}`;
}

function decisionOf({ decision, policies, problems }: IntentBody, callId: string, bodies: readonly Body[]): string {
  const by = policies.map(({ id, reason }) => (reason === undefined ? id : `${id} (${reason})`)).join(", ");
  const answers = events(bodies, "approval-given", "approval-refused").filter(
    (it) => it.callId === callId && factsIn(it.facts)["why"] !== "invalid",
  );
  const answered = answers.map(({ event, facts }) => {
    const all = factsIn(facts);
    const who = [textIn(all, "approver") ?? "nobody", textIn(all, "channel")].filter((it) => it !== undefined);
    const how = event === "approval-given" ? `allowed for the ${textIn(all, "scope") ?? "call"}` : textIn(all, "why");
    return `; then ${how ?? "refused"} by ${who.join(" through ")}`;
  });
  return `${[decision, by === "" ? "" : `by ${by}`, problems[0] ?? ""].filter((it) => it !== "").join(" ")}${answered.join("")}`;
}

function endOf(callId: string, bodies: readonly Body[], outcome: OutcomeBody | undefined): string | undefined {
  if (!outcome) return bodies.some((it) => opened(it) === callId) ? "not yet" : "nothing was executed";
  const { status, code, durationMs, facts } = outcome;
  const all = factsIn(facts);
  const process = factsIn(events(bodies, "process-ended").find((it) => factsIn(it.facts)["callId"] === callId)?.facts);
  const exit = numberIn(all, "exitCode") ?? numberIn(process, "exitCode");
  const by = textIn(all, "endedBy") ?? textIn(process, "endedBy");
  const why = textIn(all, "message") ?? textIn(all, "reason");
  return [
    `${code ?? status}${status === "interrupted" ? "" : ` after ${durationMs} ms`}`,
    ...(exit === undefined ? [] : [`exit code ${exit}`]),
    ...(by === undefined || by === "exit" ? [] : [`by ${by}`]),
    ...(why === undefined ? [] : [why]),
  ].join(", ");
}

/** What left the sandbox, and what was kept from it. */
function outOf(bodies: readonly Body[]): string | undefined {
  const opened = events(bodies, "connection-opened");
  const closed = events(bodies, "connection-closed").map(({ facts }) => factsIn(facts));
  const refused = events(bodies, "connection-refused", "placeholder-refused");
  const sent = closed.reduce((sum, it) => sum + (numberIn(it, "sentBytes") ?? 0), 0);
  const received = closed.reduce((sum, it) => sum + (numberIn(it, "receivedBytes") ?? 0), 0);
  const secrets = [...new Set(closed.flatMap((it) => textsIn(it, "filledIn")))];
  const uncounted = refused.reduce((sum, it) => sum + (numberIn(factsIn(it.facts), "unrecordedBefore") ?? 0), 0);
  const parts = [
    ...(opened.length === 0 ? [] : [`to ${named(opened.map(placeOf))}: ${sent} bytes sent, ${received} received`]),
    ...(secrets.length === 0 ? [] : [`with the secrets ${secrets.join(", ")}`]),
    ...(refused.length === 0 ? [] : [`refused: ${named(refused.map(placeOf))}`]),
    ...(uncounted === 0 ? [] : [`${uncounted} more refused that are only counted`]),
  ];
  return parts.length === 0 ? undefined : parts.join("; ");
}

/** What came in besides bytes of connections. */
function inOf(bodies: readonly Body[]): string | undefined {
  const called = ({ facts }: EventBody) => {
    const all = factsIn(facts);
    return (
      textIn(all, "purl") ?? [textIn(all, "name"), textIn(all, "version")].filter((it) => it !== undefined).join("@")
    );
  };
  const admitted = events(bodies, "package-admitted").map(called);
  const refused = events(bodies, "package-refused").map(called);
  const parts = [
    ...(admitted.length === 0 ? [] : [`packages ${named(admitted)}`]),
    ...(refused.length === 0 ? [] : [`refused: ${named(refused)}`]),
  ];
  return parts.length === 0 ? undefined : parts.join("; ");
}

/** How the sandbox is confined: as its latest machine was made. */
function sandboxOf(bodies: readonly Body[]): string | undefined {
  const made = events(bodies, "session-opened", "session-woken").at(-1);
  if (!made) return undefined;
  const facts = factsIn(made.facts);
  const machine = factsIn(facts["machine"]);
  const seen = factsIn(facts["attestation"]);
  const say = (label: string, from: Facts, name: string) => {
    const text = textIn(from, name);
    return text === undefined ? [] : [`${label}${text}`];
  };
  const engine = [...say("", machine, "engine"), ...say("", machine, "engineVersion")].join(" ");
  const parts = [
    ...say("machine ", facts, "machineId"),
    ...(engine === "" ? [] : [engine]),
    ...say("isolation ", machine, "level"),
    ...say("acceleration ", machine, "acceleration"),
    ...say("", machine, "start").map((it) => `${it} start`),
    ...say("image ", facts, "image"),
    ...say("kernel ", seen, "kernelRelease"),
    ...say("boot ", seen, "bootId"),
    ...say("", machine, "warning"),
  ];
  return parts.length === 0 ? undefined : parts.join(", ");
}

function gatewayOf(story: readonly Entry[], intent: IntentBody | undefined): string | undefined {
  const gateway = story[0]?.record.gateway;
  const start = story.find(({ record: { body } }) => body.kind === "event" && body.event === "gateway-started");
  const facts = start?.record.body.kind === "event" ? factsIn(start.record.body.facts) : {};
  const version = textIn(facts, "version");
  const user = textIn(facts, "user");
  const host = textIn(facts, "host");
  const policy = intent && `policy ${intent.bundle.name} ${intent.bundle.version} ${intent.bundle.digest}`;
  const parts = [
    ...(gateway === undefined ? [] : [gateway]),
    ...(version === undefined ? [] : [`Glovebox ${version}`]),
    ...(user === undefined ? [] : [`run by ${user}`]),
    ...(host === undefined ? [] : [`on ${host}`]),
    ...(policy === undefined ? [] : [policy]),
  ];
  return parts.length === 0 ? undefined : parts.join(", ");
}

function events(bodies: readonly Body[], ...names: EventBody["event"][]): EventBody[] {
  return bodies.filter((it): it is EventBody => it.kind === "event" && names.includes(it.event));
}

function placeOf({ facts }: EventBody): string {
  const all = factsIn(facts);
  return `${textIn(all, "host") ?? "somewhere"}:${numberIn(all, "port") ?? "?"}`;
}

/** Each once. */
function named(all: readonly string[]): string {
  const once = [...new Set(all)];
  const more = once.length > MAX_NAMED ? ` and ${once.length - MAX_NAMED} more` : "";
  return `${once
    .slice(0, MAX_NAMED)
    .map((it) => oneLine(it, 100))
    .join(", ")}${more}`;
}
