import { constants } from "node:fs";
import { basename, join, resolve } from "node:path";
import { codeOf } from "../lib/error.ts";
import { utf8 } from "../lib/text.ts";
import { Folder } from "../mounts/folder.ts";
import type { Problem } from "../policy/bundle.ts";
import { DEFINITION_FILE, readDefinition } from "./definition.ts";
import { readIntroduction, SKILL_FILE } from "./frontmatter.ts";
import { digestOf, readSkillFiles, type SkillFiles } from "./read-files.ts";
import type { Skill } from "./skill.ts";

type Names = ReadonlySet<string>;
type Read = { readonly skill: Skill } | { readonly problems: readonly Problem[] };

/** A folder that is not used, and why. */
export interface RefusedSkill {
  readonly directory: string;
  readonly problems: readonly Problem[];
}

export interface ReadSkills {
  /** In the order of their names. */
  readonly skills: readonly Skill[];
  readonly refused: readonly RefusedSkill[];
}

/**
 * Reads a skill's folder: all of it is right, or none of it is used.
 * @param tools names that are taken
 */
export async function readSkill(directory: string, tools: Names): Promise<Read> {
  const read = await readSkillFiles(directory);
  return "problems" in read ? read : skillOf(basename(resolve(directory)), read.files, tools);
}

/** The same of files that were read before. */
export function skillOf(folder: string, files: SkillFiles, tools: Names): Read {
  const problems: Problem[] = [];
  const head = textIn(files, SKILL_FILE, problems);
  const body = textIn(files, DEFINITION_FILE, problems);
  const introduced = head === undefined ? undefined : readIntroduction(head, folder);
  const defined = body === undefined ? undefined : readDefinition(body, { skill: folder, files });
  for (const it of [introduced, defined]) if (it && "problems" in it) problems.push(...it.problems);
  if (tools.has(folder)) {
    const fix = "give the skill and its folder another name";
    problems.push({ file: SKILL_FILE, message: `\`${folder}\` is the name of a tool`, fix });
  }
  if (!introduced || !defined || "problems" in introduced || "problems" in defined || problems.length > 0) {
    return { problems };
  }
  return { skill: { ...introduced.introduction, ...defined.definition, digest: digestOf(files), files } };
}

function textIn(files: SkillFiles, name: string, problems: Problem[]): string | undefined {
  const file = files.get(name);
  if (!file) {
    problems.push({ file: name, message: "is missing", fix: "every skill has SKILL.md and capabilities.yaml" });
    return undefined;
  }
  const text = utf8(file.content);
  if (text === undefined) problems.push({ file: name, message: "is not valid UTF-8", fix: "save it as UTF-8" });
  return text;
}

/**
 * Reads every folder below each directory. One that is wrong does not hide the others; of several skills of one name none is used, since nothing
 * says which was meant.
 */
export async function readSkills(directories: readonly string[], tools: Names): Promise<ReadSkills> {
  const skills: { readonly skill: Skill; readonly directory: string }[] = [];
  const refused: RefusedSkill[] = [];
  for (const directory of new Set(directories.map((it) => resolve(it)))) {
    const found = await foldersIn(directory);
    if ("problems" in found) refused.push({ directory, problems: found.problems });
    for (const name of "names" in found ? found.names : []) {
      const path = join(directory, name);
      const read = await readSkill(path, tools);
      if ("skill" in read) skills.push({ skill: read.skill, directory: path });
      else refused.push({ directory: path, problems: read.problems });
    }
  }
  const byName = Map.groupBy(skills, (it) => it.skill.name);
  for (const { skill, directory } of skills) {
    const others = (byName.get(skill.name) ?? []).filter((it) => it.directory !== directory);
    if (others.length === 0) continue;
    const message = `there is another skill \`${skill.name}\` in ${others.map((it) => it.directory).join(", ")}`;
    refused.push({ directory, problems: [{ file: SKILL_FILE, message, fix: "remove all but one" }] });
  }
  const sole = skills.filter(({ skill }) => byName.get(skill.name)?.length === 1).map(({ skill }) => skill);
  return { skills: sole.toSorted((a, b) => (a.name < b.name ? -1 : 1)), refused };
}

/** Folders, and links, which are then refused; not those that are hidden, such as `.git`. */
async function foldersIn(
  directory: string,
): Promise<{ readonly names: readonly string[] } | { readonly problems: readonly Problem[] }> {
  const refuse = (message: string, fix: string) => ({ problems: [{ file: ".", message, fix }] });
  try {
    await using folder = await Folder.open(directory);
    if (((await folder.self()).mode & constants.S_IWOTH) !== 0) {
      return refuse("anybody may put skills into it", `chmod o-w ${directory}`);
    }
    const entries = await folder.entries();
    const kept = entries.filter(({ name, kind }) => !name.startsWith(".") && (kind === "directory" || kind === "link"));
    return { names: kept.map((it) => it.name) };
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    return refuse(`cannot be read (${code})`, "name a folder that holds folders of skills");
  }
}
