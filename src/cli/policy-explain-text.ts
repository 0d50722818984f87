import type { createColors } from "picocolors";
import { printable } from "../lib/text.ts";
import type { Decision } from "../policy/decision.ts";
import type { LayerDecision, PlacedPolicy, PolicyExplanation } from "../policy/explain/explanation.ts";
import type { Proposal } from "../policy/explain/nearest.ts";
import type { Resource } from "../policy/request.ts";

type Colors = ReturnType<typeof createColors>;

interface Explained extends PolicyExplanation {
  readonly nearest?: Proposal;
}

/** An explanation for a person at a terminal. */
export function explanationText({ request, decision, layers, nearest }: Explained, colour: Colors): string {
  const [alone, ...others] = layers;
  const why =
    alone && others.length === 0 && alone.mode === "enforce"
      ? whyOf(alone).map((it) => `  ${it}`)
      : layers.flatMap((it) => [layerLine(it, colour), ...whyOf(it).map((line) => `    ${line}`)]);
  const facts = Object.entries(request.context);
  const width = Math.max("resource".length, ...facts.map(([name]) => name.length));
  const row = (name: string, value: string) => `  ${name.padEnd(width)}  ${printable(value, 4_096)}`;
  return [
    painted(decision.outcome, colour),
    ...why,
    ...(decision.channels ? [`  may be allowed by: ${decision.channels.join(", ")}`] : []),
    ...(nearest ? [`${colour.cyan("instead")}: ${printable(nearest.text, 4_096)}`] : []),
    colour.dim("facts:"),
    colour.dim(row("resource", nameOf(request.resource))),
    ...facts.map(([name, fact]) => colour.dim(row(name, JSON.stringify(fact)))),
  ].join("\n");
}

function layerLine({ layer, bundle, mode, outcome }: LayerDecision, colour: Colors): string {
  const said = mode === "shadow" ? `would ${outcome}, in shadow mode` : painted(outcome, colour);
  return `  ${layer} (${bundle.name} ${bundle.version}): ${said}`;
}

function whyOf({ outcome, policies, problems, shadow }: LayerDecision): string[] {
  const shadows = shadow.map(({ would, policies: due, problems: failed }) => {
    const ids = [...due.map((it) => it.id), ...failed].join(", ");
    return `in shadow mode: would ${would}, by ${printable(ids, 4_096)}`;
  });
  const nothing = policies.length + problems.length === 0 && outcome === "deny";
  return [
    ...policies.map(policyLine),
    ...problems.map((it) => printable(it)),
    ...(nothing ? ["no policy permits it, and what no policy permits is denied"] : []),
    ...shadows,
  ];
}

function policyLine({ id, effect, reason, file, line }: PlacedPolicy): string {
  return `${effect} by ${id} (${file}:${line})${reason ? `: ${printable(reason)}` : ""}`;
}

function painted(outcome: Decision["outcome"], { green, red, yellow }: Colors): string {
  return { permit: green, deny: red, ask: yellow }[outcome](outcome);
}

function nameOf(resource: Resource): string {
  if (resource.type === "session") return "session";
  if (resource.type === "package") return resource.facts.purl;
  return resource.type === "path" ? resource.path : resource.host;
}
