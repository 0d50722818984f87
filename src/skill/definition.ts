import type { Problem } from "../policy/bundle.ts";
import { readYaml } from "../policy/yaml.ts";
import { definitionSchema, type StatedCapability } from "./definition-schema.ts";
import { checkHostsOf, joinNeeds } from "./needs.ts";
import type { SkillFiles } from "./read-files.ts";
import { readParameters } from "./read-parameters.ts";
import { readRun } from "./read-steps.ts";
import type { Skill, SkillCapability } from "./skill.ts";
import { collector, type Tell } from "./tell.ts";

export const DEFINITION_FILE = "capabilities.yaml";

/** As clients accept it; the Cedar action's is the same. */
const MAX_TOOL_NAME_CHARS = 64;

export type Definition = Pick<Skill, "version" | "capabilities">;

/** What a definition is read beside. */
export interface Surroundings {
  /** The skill's name. */
  readonly skill: string;
  readonly files: SkillFiles;
}

/** Reads capabilities.yaml: all of it is right, or each thing that is wrong is told with its place. */
export function readDefinition(
  text: string,
  surroundings: Surroundings,
): { readonly definition: Definition } | { readonly problems: readonly Problem[] } {
  const read = readYaml(DEFINITION_FILE, text, definitionSchema);
  if ("problems" in read) return read;
  const { version, needs, capabilities: stated } = read.value;
  const { tell, problems } = collector(DEFINITION_FILE, read.placeOf);
  const capabilities = stated.map((it, index): SkillCapability => {
    const { parameters, needs: own, ...rest } = readCapability(it, ["capabilities", index], surroundings, tell);
    return { ...rest, parameters, needs: joinNeeds(needs, own, parameters) };
  });
  const names = stated.map((it) => it.name);
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) === index) continue;
    tell(["capabilities", index, "name"], `there is a capability \`${name}\` already`, "give it another name");
  }
  const all = capabilities.flatMap((it) => it.parameters);
  checkHostsOf(needs.hostsOf, all, ["needs"], tell);
  return problems.length > 0 ? { problems } : { definition: { version, capabilities } };
}

function readCapability(
  stated: StatedCapability,
  at: readonly PropertyKey[],
  { skill, files }: Surroundings,
  tell: Tell,
): Omit<SkillCapability, "needs"> & Pick<StatedCapability, "needs"> {
  const tool = `${skill}_${stated.name}`;
  if (tool.length > MAX_TOOL_NAME_CHARS) {
    const message = `the tool's name \`${tool}\` has more than ${MAX_TOOL_NAME_CHARS} characters`;
    tell([...at, "name"], message, "shorten it, or the skill's");
  }
  const parameters = readParameters(stated.parameters, [...at, "parameters"], tell);
  const { steps, output } = readRun(stated, parameters, files, at, tell);
  checkHostsOf(stated.needs.hostsOf, parameters, [...at, "needs"], tell);
  return { ...stated, parameters, steps, output };
}
