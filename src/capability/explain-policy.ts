import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type Decision, OUTCOMES } from "../policy/decision.ts";
import type { Proposal } from "../policy/explain/nearest.ts";
import { LAYERS } from "../policy/layer.ts";
import type { Fact, Resource } from "../policy/request.ts";
import { capability, type Explanation } from "./capability.ts";
import { digest, plain } from "./fields.ts";
import { oneLine, present } from "./render.ts";

const MAX_FACT_CHARS = 300;
const MAX_CHANGE_CHARS = 16_384;

const decidedBy = z
  .array(z.strictObject({ id: z.string(), effect: z.enum(["permit", "forbid"]), reason: z.string().optional() }))
  .describe("Those that decided; none when nothing permits it.");
const problems = z.array(z.string()).describe("Evaluation errors; any of them denies.");

const output = z.strictObject({
  tool: z.string(),
  valid: z.boolean().describe("Whether the arguments fit the tool."),
  problem: z.string().optional(),
  outcome: z.enum(OUTCOMES).optional(),
  policies: decidedBy,
  problems,
  bundle: z.strictObject({ name: z.string(), version: z.string(), digest: z.string() }).optional(),
  resource: z.string().optional(),
  facts: z.record(z.string(), z.unknown()).optional().describe("What policy sees of the call."),
  layers: z
    .array(z.strictObject({ layer: z.enum(LAYERS), outcome: z.enum(OUTCOMES), policies: decidedBy, problems }))
    .optional()
    .describe("All of them have to permit."),
  wouldBePermitted: z
    .strictObject({
      tool: z.string().optional().describe("Another tool that does the same."),
      arguments: z.record(z.string(), z.unknown()).optional().describe("Those to change; null: leave it out."),
      text: z.string(),
    })
    .optional()
    .describe("The smallest change of the call that would be."),
});
type Output = z.output<typeof output>;

export const explainPolicy = capability({
  name: "explainPolicy",
  description:
    "Ask whether policy would permit a call, why, and what it would permit instead. Nothing is executed. Of the network: tool `connect`, arguments {host, port}.",
  annotations: { title: "Explain policy", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({
    tool: plain(64).min(1).describe("Its name."),
    arguments: z.record(z.string(), z.unknown()).default({}).describe("As the tool would get them."),
  }),
  output,
  describe: (args) => ({
    resource: { type: "session", id: "default" },
    context: { tool: args.tool },
    audit: { tool: args.tool, arguments: digest(Buffer.from(asJson(args.arguments))) },
  }),
  run: async (args, context) => {
    const explanation = context.decide(args.tool, args.arguments);
    const result = resultOf(args.tool, explanation);
    const outcome = result.outcome ?? "invalid";
    return { result, text: textOf(result), facts: { tool: args.tool, outcome } };
  },
});

/** @throws GatewayError INVALID_ARGUMENTS */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new GatewayError("INVALID_ARGUMENTS", "arguments: are nested too deeply", { cause });
  }
}

function resultOf(tool: string, explanation: Explanation): Output {
  if (!explanation.valid) return { tool, valid: false, problem: explanation.problem, policies: [], problems: [] };
  const { decision, description, layers, nearest } = explanation;
  const { resource, context } = description;
  const { name, version, digest } = decision.bundle;
  return {
    tool,
    valid: true,
    ...decided(decision),
    bundle: { name, version, digest },
    resource: nameOf(resource),
    facts: Object.fromEntries(Object.entries(context).map(([fact, value]) => [fact, shortened(value)])),
    ...present({
      layers: layers?.map((it) => ({ layer: it.layer, ...decided(it) })),
      wouldBePermitted: nearest && proposed(tool, nearest),
    }),
  };
}

/** Without the places of policies: they are for who writes them. */
function decided({ outcome, policies, problems }: Pick<Decision, "outcome" | "policies" | "problems">) {
  return {
    outcome,
    policies: policies.map(({ id, effect, reason }) => ({ id, effect, ...present({ reason }) })),
    problems: [...problems],
  };
}

/** An argument may be as long as a call; who made it has it already. */
function proposed(asked: string, { tool, change, text }: Proposal) {
  const fits = JSON.stringify(change).length <= MAX_CHANGE_CHARS;
  return present({
    tool: tool === asked ? undefined : tool,
    arguments: fits ? { ...change } : undefined,
    text: oneLine(text, 2_000),
  });
}

function nameOf(resource: Resource): string {
  switch (resource.type) {
    case "session":
      return resource.id;
    case "path":
      return resource.path;
    case "host":
      return resource.host;
    case "package":
      return resource.facts.purl;
  }
}

/** An argv can be long; the beginning says which it is. */
function shortened(fact: Fact): unknown {
  if (typeof fact === "string") return fact.length <= MAX_FACT_CHARS ? fact : `${fact.slice(0, MAX_FACT_CHARS)}…`;
  return Array.isArray(fact) ? fact.map(shortened) : fact;
}

function textOf({ tool, problem, outcome, bundle, resource, facts, wouldBePermitted, layers, ...why }: Output): string {
  if (problem !== undefined) return `${tool}: the arguments do not fit: ${problem}`;
  const deciding = (layers ?? []).flatMap((it) => [`${it.layer}: ${it.outcome}`, ...whyOf(it)]);
  return [
    `${tool} ${HEADLINES[outcome ?? "deny"]} Nothing was executed.`,
    ...(layers ? deciding : whyOf(why)),
    ...(wouldBePermitted ? [`instead: ${wouldBePermitted.text}`] : []),
    `resource: ${oneLine(resource ?? "", 4_096)}`,
    `facts: ${oneLine(JSON.stringify(facts), 4_000)}`,
    `policy bundle: ${bundle?.name} ${bundle?.version} (${bundle?.digest})`,
  ].join("\n");
}

const HEADLINES = {
  permit: "would be permitted.",
  deny: "would be denied.",
  ask: "would be put to a person, who may allow it.",
} as const;

function whyOf({ policies, problems }: Pick<Output, "policies" | "problems">): string[] {
  if (problems.length > 0) return problems.map((it) => `- ${it}`);
  if (policies.length === 0) return ["- no policy permits it"];
  return policies.map(({ id, effect, reason }) => `- ${id} (${effect})${reason ? `: ${reason}` : ""}`);
}
