import type { Capability } from "../capability/capability.ts";
import type { Principal } from "../policy/request.ts";
import { toolName } from "./facts.ts";
import { type FindPorts, findCapabilityTool } from "./find-capability.ts";
import { runCapability } from "./run-capability.ts";
import { skillTool } from "./tool.ts";
import { useSkill } from "./use-skill.ts";

/** Names of the tools by which skills are found and used. */
export const SKILL_TOOLS = ["findCapability", "useSkill", "runCapability"] as const;

/** What skills add to the tools. */
export interface SkillTools {
  /** Those that a principal is shown. */
  listed(principal: Principal): readonly Capability[];
  /** Of all skills, in use or not: what is not in use can be asked about, and refuses to run. */
  find(name: string): Capability | undefined;
  /** Whether it is a capability of a skill. */
  isSkillTool(name: string): boolean;
}

export function skillTools(ports: FindPorts): SkillTools {
  const { shelf, mayPermit, mayUse } = ports;
  const known = [...shelf.skills.values()];
  const tools = known.flatMap((it) =>
    it.skill.capabilities.map((capability) => ({
      known: it,
      name: toolName(it.skill, capability),
      tool: skillTool(it, capability, { shelf, mayUse }),
    })),
  );
  const byName = new Map(tools.map((it) => [it.name, it.tool]));
  const find = findCapabilityTool(ports);
  const use = useSkill(shelf, mayUse);
  const own = [find, use.tool, runCapability];
  return {
    listed: (principal) => {
      const used = tools.filter(({ known: it }) => shelf.isUsed(principal, it.skill.name) && mayUse(it, principal));
      const isOffered = (it: Capability) =>
        it === runCapability ? tools.some(({ name }) => mayPermit(name)) : mayPermit(it.name);
      const ours = [find, use.described(principal), runCapability];
      return known.length === 0 ? [] : [...ours, ...used.map((it) => it.tool)].filter(isOffered);
    },
    find: (name) => own.find((it) => it.name === name) ?? byName.get(name),
    isSkillTool: (name) => byName.has(name),
  };
}
