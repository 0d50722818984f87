import { z } from "zod";
import { type Capability, capability } from "../capability/capability.ts";
import { sandbox, sessionId } from "../capability/fields.ts";
import { present } from "../capability/render.ts";
import { GatewayError } from "../errors.ts";
import { skillFact, toolName } from "./facts.ts";
import { outcomeOf, skillResult } from "./outcome.ts";
import { factsOf, inputSchema, type Values, withinOf } from "./parameters.ts";
import { putInPlace } from "./place.ts";
import type { KnownSkill, Shelf } from "./shelf.ts";
import type { Parameter, SkillCapability } from "./skill.ts";
import { runSteps } from "./steps.ts";
import { argvOf } from "./template.ts";
import type { MayUse } from "./use-skill.ts";

/** Text of a parameter up to this is kept in the audit log as it is. */
const MAX_AUDITED_CHARS = 4_096;
/** Of all parameters together. Policy sees each of them whole, and while it decides, everybody else waits: a second for this much. */
const MAX_TEXT_CHARS = 1_048_576 + 65_536;

/** A skill's capability as a tool: the action of its name in policy, with its parameters as facts. */
export function skillTool(
  known: KnownSkill,
  it: SkillCapability,
  { shelf, mayUse }: { readonly shelf: Pick<Shelf, "isUsed">; readonly mayUse: MayUse },
): Capability {
  const { skill } = known;
  const name = toolName(skill, it);
  const about = skillFact(known);
  return capability({
    name,
    description: it.description,
    annotations: {
      title: it.title,
      readOnly: it.readOnly,
      destructive: it.destructive,
      idempotent: it.readOnly,
      openWorld: it.openWorld,
    },
    input: z
      .strictObject({ ...inputSchema(it.parameters).shape, sessionId })
      .refine((args) => textChars(args) <= MAX_TEXT_CHARS, `has more than ${MAX_TEXT_CHARS} characters of text in all`),
    output: skillResult,
    describe: (args) => {
      const values = valuesOf(it.parameters, args);
      const { version, digest } = skill;
      return {
        resource: sandbox(args),
        context: {
          skill: about,
          ...present({ within: withinOf(it.parameters, values) }),
          ...factsOf(it.parameters, values),
        },
        // `{skill}`: where that will be, depends on the sandbox.
        runs: it.steps.flatMap((step) => {
          const argv = argvOf(step, values, { skill: "{skill}" });
          return argv === undefined ? [] : [argv];
        }),
        audit: { ...audited(values), skill: { version, digest }, ...present({ sessionId: args.sessionId }) },
      };
    },
    run: async (args, context) => {
      if (!shelf.isUsed(context.principal, skill.name)) {
        throw new GatewayError("SKILL_NOT_USED", `\`${name}\` belongs to the skill \`${skill.name}\``);
      }
      // Policy may have been changed since.
      if (!mayUse(known, context.principal)) {
        throw new GatewayError("SKILL_NOT_USED", `policy does not let the skill \`${skill.name}\` be used any more`);
      }
      const values = valuesOf(it.parameters, args);
      const timeoutMs = Math.min(it.timeoutMs, context.profile.timeouts.maxExecMs);
      const session = await context.session();
      const { mark } = session.egress;
      const place = await putInPlace({ skill, packages: it.needs.packages }, session, context);
      const ran = await runSteps(it, values, { place, session, timeoutMs, context });
      return await outcomeOf(it, ran, { place, values, session, mark, context });
    },
  });
}

function textChars(args: object): number {
  return Object.values(args)
    .flat()
    .reduce((sum: number, it) => sum + (typeof it === "string" ? it.length : 0), 0);
}

function valuesOf(parameters: readonly Parameter[], args: object): Values {
  const given = new Map(Object.entries(args));
  return Object.fromEntries(parameters.flatMap(({ name }) => (given.has(name) ? [[name, given.get(name)]] : [])));
}

function audited(values: Values): Record<string, string | number | boolean | string[]> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => {
      if (value === undefined) return [];
      const text = typeof value === "string" ? value : JSON.stringify(value);
      if (text.length > MAX_AUDITED_CHARS)
        return [[name, `${text.slice(0, MAX_AUDITED_CHARS).toWellFormed()}… (${text.length} characters)`]];
      return [[name, typeof value === "object" ? [...value] : value]];
    }),
  );
}
