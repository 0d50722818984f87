import { z } from "zod";
import { type CallContext, type Capability, capability } from "../capability/capability.ts";
import { unicode } from "../capability/fields.ts";
import { OUTCOMES } from "../policy/decision.ts";
import { toolName } from "./facts.ts";
import { createFinder, type Found, MAX_REQUEST_CHARS } from "./find/finder.ts";
import type { Shelf } from "./shelf.ts";
import type { MayUse } from "./use-skill.ts";

export interface FindPorts {
  readonly shelf: Shelf;
  /** Whether policy could permit an action at all. */
  readonly mayPermit: (action: string) => boolean;
  readonly mayUse: MayUse;
}

const result = z.strictObject({
  capabilities: z.array(
    z.strictObject({
      tool: z.string(),
      skill: z.string(),
      description: z.string(),
      score: z.number().describe("0 to 1."),
      arguments: z.record(z.string(), z.unknown()).describe("As far as the request's words determine them."),
      missing: z.array(z.string()).describe("Arguments that have to be given besides."),
      inUse: z.boolean().describe("Else call useSkill first."),
      decision: z.enum([...OUTCOMES, "unknown"]).describe("Policy's, of the call with these arguments."),
      reasons: z.array(z.string()),
    }),
  ),
});

/**
 * Plain words in, a skill's capabilities out: by the same words, skills and policy always the same. What policy forbids to use is not among them,
 * and has no part in the ranking: its author could turn requests away from the others, and has a say in what the model reads.
 */
export function findCapabilityTool({ shelf, mayPermit, mayUse }: FindPorts): Capability {
  const finderFor = lastOf((names: string) => {
    const used = new Set(names.split(" "));
    const skills = [...shelf.skills.values()].filter(({ skill }) => used.has(skill.name));
    const candidates = skills.flatMap(({ skill }) =>
      skill.capabilities.map((it) => ({ id: toolName(skill, it), skill: skill.name, capability: it })),
    );
    return { byId: new Map(candidates.map((it) => [it.id, it])), find: createFinder(candidates) };
  });
  return capability({
    name: "findCapability",
    description:
      "Find the skills' tools that a request in plain words means, with arguments filled in where the words determine them and policy's decision. Nothing is executed.",
    annotations: { title: "Find a capability", readOnly: true, destructive: false, idempotent: true, openWorld: false },
    input: z.strictObject({
      request: unicode(MAX_REQUEST_CHARS).min(1).describe("e.g. `plot sales by month from sales.csv`"),
    }),
    output: result,
    describe: ({ request }) => ({
      resource: { type: "session", id: "default" },
      context: {},
      audit: { request },
    }),
    run: async ({ request }, context) => {
      const usable = [...shelf.skills.values()].filter((it) => mayUse(it, context.principal));
      const { byId, find } = finderFor(usable.map((it) => it.skill.name).join(" "));
      const capabilities = find(request).flatMap((it) => {
        const candidate = byId.get(it.id);
        if (!candidate) return [];
        const { skill, capability: of } = candidate;
        const inUse = shelf.isUsed(context.principal, skill);
        const { id: tool, score, missing } = it;
        const told = { tool, skill, description: of.description, score, arguments: it.arguments };
        return [{ ...told, missing: [...missing], inUse, ...decisionOn(it, context, mayPermit) }];
      });
      const text =
        capabilities.length === 0
          ? "No skill has anything for this request."
          : capabilities.map((it) => lineOf(it)).join("\n");
      return { result: { capabilities }, text, facts: { found: capabilities.map((it) => it.tool) } };
    },
  });
}

/** What was made of the argument of last time is not made again for the same. */
function lastOf<T>(make: (argument: string) => T): (argument: string) => T {
  let last: { readonly argument: string; readonly made: T } | undefined;
  return (argument) => {
    last = last?.argument === argument ? last : { argument, made: make(argument) };
    return last.made;
  };
}

type Shown = z.output<typeof result>["capabilities"][number];

function decisionOn(
  found: Found,
  { decide }: CallContext,
  mayPermit: FindPorts["mayPermit"],
): Pick<Shown, "decision" | "reasons"> {
  if (!mayPermit(found.id)) return { decision: "deny", reasons: ["no policy permits it, whatever its arguments"] };
  if (found.missing.length > 0) return { decision: "unknown", reasons: [`depends on ${found.missing.join(", ")}`] };
  const explained = decide(found.id, found.arguments);
  if (!explained.valid) return { decision: "unknown", reasons: [explained.problem] };
  const { outcome, policies, problems } = explained.decision;
  const reasons = outcome === "permit" ? [] : policies.map((it) => it.reason ?? `${it.effect} by ${it.id}`);
  return { decision: outcome, reasons: [...reasons, ...problems] };
}

function lineOf({ tool, skill, arguments: args, missing, inUse, decision, reasons }: Shown): string {
  const needs = missing.length > 0 ? `; give ${missing.join(", ")}` : "";
  const use = inUse ? "" : `; call useSkill ${JSON.stringify({ name: skill })} first`;
  const why = reasons.length > 0 ? ` (${reasons.join("; ")})` : "";
  return `${tool} ${JSON.stringify(args)}${needs}${use}; policy: ${decision}${why}`;
}
