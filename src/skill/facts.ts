import type { Fact } from "../policy/request.ts";
import type { SkillAction } from "../policy/vocabulary.ts";
import { contextType, pathFacts } from "./parameters.ts";
import type { KnownSkill } from "./shelf.ts";
import type { Skill, SkillCapability } from "./skill.ts";

/** The tool's name, and the Cedar action's. */
export function toolName(skill: Pick<Skill, "name">, { name }: Pick<SkillCapability, "name">): string {
  return `${skill.name}_${name}`;
}

/** Which skill it is, as policy sees it. */
export function skillFact({ skill, pinned, signedBy }: KnownSkill): Fact {
  const { name, version, digest } = skill;
  return { name, version, digest, pinned, signedBy };
}

/** What policy can speak of besides: the capabilities of these skills. */
export function skillActions(known: Iterable<KnownSkill>): SkillAction[] {
  return [...known].flatMap(({ skill }) =>
    skill.capabilities.map((it) => ({
      name: toolName(skill, it),
      skill: skill.name,
      context: contextType(it.parameters),
      paths: pathFacts(it.parameters),
    })),
  );
}
