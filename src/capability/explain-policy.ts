import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { Fact, Resource } from "../policy/request.ts";
import { capability, type Explanation } from "./capability.ts";
import { digest, plain } from "./fields.ts";
import { oneLine, present } from "./render.ts";

const MAX_FACT_CHARS = 300;

const output = z.strictObject({
  tool: z.string(),
  valid: z.boolean().describe("Whether the arguments fit the tool."),
  problem: z.string().optional(),
  outcome: z.enum(["permit", "deny"]).optional(),
  policies: z
    .array(z.strictObject({ id: z.string(), effect: z.enum(["permit", "forbid"]), reason: z.string().optional() }))
    .describe("Those that decided; none when nothing permits it."),
  problems: z.array(z.string()).describe("Evaluation errors; any of them denies."),
  bundle: z.strictObject({ name: z.string(), version: z.string(), digest: z.string() }).optional(),
  resource: z.string().optional(),
  facts: z.record(z.string(), z.unknown()).optional().describe("What policy sees of the call."),
});
type Output = z.output<typeof output>;

export const explainPolicy = capability({
  name: "explainPolicy",
  description:
    "Ask whether policy would permit a call, and why. Nothing is executed. Of the network: tool `connect`, arguments {host, port}.",
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
  const { decision, description } = explanation;
  const { resource, context } = description;
  return {
    tool,
    valid: true,
    outcome: decision.outcome,
    policies: decision.policies.map(({ id, effect, reason }) => ({ id, effect, ...present({ reason }) })),
    problems: [...decision.problems],
    bundle: { ...decision.bundle },
    resource: nameOf(resource),
    facts: Object.fromEntries(Object.entries(context).map(([name, fact]) => [name, shortened(fact)])),
  };
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

function textOf({ tool, problem, outcome, policies, problems, bundle, resource, facts }: Output): string {
  if (problem !== undefined) return `${tool}: the arguments do not fit: ${problem}`;
  const decided = policies.map(({ id, effect, reason }) => `- ${id} (${effect})${reason ? `: ${reason}` : ""}`);
  const why = decided.length > 0 ? decided : ["- no policy permits it"];
  return [
    `${tool} would be ${outcome === "permit" ? "permitted" : "denied"}. Nothing was executed.`,
    ...(problems.length > 0 ? problems.map((it) => `- ${it}`) : why),
    `resource: ${oneLine(resource ?? "", 4_096)}`,
    `facts: ${oneLine(JSON.stringify(facts), 4_000)}`,
    `policy bundle: ${bundle?.name} ${bundle?.version} (${bundle?.digest})`,
  ].join("\n");
}
