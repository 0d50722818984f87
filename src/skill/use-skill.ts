import { z } from "zod";
import { type Capability, capability } from "../capability/capability.ts";
import { plain } from "../capability/fields.ts";
import { GatewayError } from "../errors.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import { skillFact, toolName } from "./facts.ts";
import { missingOf } from "./missing.ts";
import type { KnownSkill, Shelf } from "./shelf.ts";

const NAMED = 40;

/** Whether policy lets a principal use a skill: the same question that a call of the tool is. */
export function useRequest(known: KnownSkill, principal: Principal): PolicyRequest {
  return { principal, action: "useSkill", resource: SANDBOX, context: { skill: skillFact(known) } };
}

/** Whether policy, as it is now, lets a principal use a skill, or leaves that to a person. */
export type MayUse = (known: KnownSkill, principal: Principal) => boolean;

const SANDBOX = { type: "session", id: "default" } as const;

/** `described`: the same for this principal, who is told of no skill that policy forbids: not even its name was written by anybody who can be trusted. */
export function useSkill(
  shelf: Shelf,
  mayUse: MayUse,
): { readonly tool: Capability; readonly described: (principal: Principal) => Capability } {
  const namesFor = (principal: Principal) =>
    [...shelf.skills.values()]
      .filter((it) => mayUse(it, principal))
      .slice(0, NAMED)
      .map((it) => it.skill.name)
      .join(", ") || "none";
  /** @throws GatewayError INVALID_ARGUMENTS */
  const known = (name: string, principal: Principal): KnownSkill => {
    const found = shelf.skills.get(name);
    if (found) return found;
    throw new GatewayError("INVALID_ARGUMENTS", `name: there is no such skill; there are ${namesFor(principal)}`);
  };
  const tool = capability({
    name: "useSkill",
    description: descriptionOf("see findCapability"),
    annotations: { title: "Use a skill", readOnly: false, destructive: false, idempotent: true, openWorld: false },
    input: z.strictObject({ name: plain(64).min(1).describe("As findCapability or the list above has it.") }),
    output: z.strictObject({
      skill: z.string(),
      version: z.string(),
      digest: z.string(),
      tools: z.array(z.strictObject({ name: z.string(), description: z.string() })),
      missing: z.array(z.strictObject({ need: z.string(), why: z.string(), tools: z.array(z.string()) })),
      instructions: z.string(),
    }),
    describe: ({ name }, principal) => {
      const it = known(name, principal);
      const { version, digest } = it.skill;
      return {
        resource: SANDBOX,
        context: { skill: skillFact(it) },
        audit: { name, version, digest },
      };
    },
    run: async ({ name }, context) => {
      const { skill } = known(name, context.principal);
      const tools = skill.capabilities.map((it) => ({ name: toolName(skill, it), description: it.description }));
      const missing = missingOf(skill, context).map(({ need, why, capabilities }) => ({
        need,
        why,
        tools: capabilities.map((it) => toolName(skill, { name: it })),
      }));
      shelf.use(context.principal, name);
      const { version, digest, instructions } = skill;
      const result = { skill: name, version, digest, tools, missing, instructions };
      const text = [
        `${name} ${version}: ${tools.map((it) => it.name).join(", ")}`,
        ...missing.map((it) => `MISSING: ${it.need}: ${it.why} (for ${it.tools.join(", ")})`),
        "",
        instructions,
      ].join("\n");
      return { result, text, facts: { skill: name, version, digest, missing: missing.map((it) => it.need) } };
    },
  });
  return { tool, described: (principal) => ({ ...tool, description: descriptionOf(namesFor(principal)) }) };
}

function descriptionOf(names: string): string {
  return `Get a skill's tools and instructions. Skills: ${names}. Its tools are listed from then on; a client that does not list them anew calls them through runCapability.`;
}
