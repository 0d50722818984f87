import { createHash } from "node:crypto";
import { FACT_TYPES, type FactType, SCHEMA } from "./schema.ts";

/** An action of a skill, as policy knows it. */
export interface SkillAction {
  /** The tool's name. */
  readonly name: string;
  readonly skill: string;
  /** The record type of its context in Cedar's schema. */
  readonly context: string;
  /** Facts of it that are paths in the sandbox: entities for Cedar, not strings. */
  readonly paths: readonly string[];
}

/** What policy can speak of: Glovebox's own actions, and those of the skills that are there. */
export interface Vocabulary {
  /** In Cedar's schema language. */
  readonly schema: string;
  /** Under which Cedar keeps the parsed schema: another for another schema. */
  readonly name: string;
  /** By the skill's name. */
  readonly skills: ReadonlyMap<string, readonly string[]>;
  /** Facts of an action that are no strings for Cedar, by name. */
  readonly factTypes: (action: string) => ReadonlyMap<string, FactType>;
}

/** Every skill's actions are in `skill:<name>`, and all of those in `skills`. */
export function vocabularyOf(actions: readonly SkillAction[]): Vocabulary {
  const skills = [...new Set(actions.map((it) => it.skill))].sort();
  const declared = [
    ...skills.map((it) => `  action ${quoted(groupOf(it))} in ["skills"];`),
    ...actions
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(
        ({ name, skill, context }) =>
          `  action ${quoted(name)} in [${quoted(groupOf(skill))}] appliesTo {\n` +
          `    principal: [Principal], resource: [Session], context: ${context.replace("{", "{ skill: Skill, within?: Path,")}\n  };`,
      ),
  ];
  const schema = SCHEMA.replace(/\}\s*$/, () => `${declared.map((it) => `${it}\n`).join("")}}\n`);
  const paths = new Map(
    actions.map((it) => [it.name, new Map(["within", ...it.paths].map((fact) => [fact, "Path" as const]))]),
  );
  const bySkill = Map.groupBy(actions, (it) => it.skill);
  return {
    schema,
    skills: new Map([...bySkill].map(([name, its]) => [name, its.map((it) => it.name)])),
    name: `glovebox-${createHash("sha256").update(schema).digest("hex")}`,
    factTypes: (action) => paths.get(action) ?? FACT_TYPES,
  };
}

/** What is missing where a policy speaks of an action that is not there, and could be a skill's. */
export function missingAction(
  { skills }: Pick<Vocabulary, "skills">,
  action: string,
): { readonly message: string; readonly fix: string } | undefined {
  const [, group, owner] = /^(?:skill:([a-z0-9-]+)|([a-z0-9-]+)_[a-z][A-Za-z0-9]*)$/.exec(action) ?? [];
  const skill = group ?? owner;
  if (skill === undefined) return undefined;
  const its = skills.get(skill);
  if (its) {
    const names = its.map((it) => `\`${it}\``).join(", ");
    return { message: `the skill \`${skill}\` has no such action: it has ${names}`, fix: "name one of them" };
  }
  const fix = "install the skill; `glovebox skill list` says which are there, and why one is refused";
  return { message: `there is no skill \`${skill}\`, or it is refused`, fix };
}

/** Where there are no skills. */
export const OWN_VOCABULARY: Vocabulary = vocabularyOf([]);

function groupOf(skill: string): string {
  return `skill:${skill}`;
}

/** Names are of letters, digits, hyphens and underscores: JSON's form is Cedar's. */
function quoted(name: string): string {
  return JSON.stringify(name);
}
