import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Problem } from "../policy/bundle.ts";
import { type Collection, readCollections } from "../skill/collection.ts";
import { SKILL_FILE } from "../skill/frontmatter.ts";
import type { Skill } from "../skill/skill.ts";
import { readTests } from "../skill/tests.ts";
import type { SkillTest } from "../skill/tests-schema.ts";
import { checkFolder, isSkillFolder, problemsOf, within } from "./skill-folders.ts";

export interface Found {
  readonly skill: Skill;
  /** `undefined` where it has none. */
  readonly tests: readonly SkillTest[] | undefined;
}

interface Tested {
  readonly skills: readonly Found[];
  /** Of skills that a gateway would not use, and of tests that can't be run. */
  readonly problems: readonly Problem[];
  /** In which a gateway must look to find them, beside its own. */
  readonly directories: readonly string[];
}

/**
 * Finds the skills of the folders that are named: as a gateway does, which looks in its own folders besides.
 * @throws GatewayError INVALID_ARGUMENTS when one is no folder
 */
export async function findTested(
  named: readonly string[],
  own: readonly string[],
  tools: ReadonlySet<string>,
): Promise<Tested> {
  /** The folders in which skills lie, each with those that are meant; `undefined` is all. */
  const wanted = new Map<string, Set<string> | undefined>();
  const spellings = new Map(await Promise.all(own.map(async (it) => [await real(it), it] as const)));
  for (const it of named) {
    await checkFolder(it);
    const path = await realpath(it);
    const isSkill = await isSkillFolder(path);
    const directory = isSkill ? dirname(path) : path;
    // A folder that is read under two names has every skill twice.
    const known = spellings.get(directory) ?? directory;
    if (!isSkill) wanted.set(known, undefined);
    else if (!wanted.has(known)) wanted.set(known, new Set([basename(path)]));
    else wanted.get(known)?.add(basename(path));
  }
  const directories = [...new Set([...own, ...wanted.keys()])];
  const collections = (await readCollections(directories, tools)).filter((it) => wanted.has(it.directory));
  const looked = collections.map((it) => lookAt(it, wanted.get(it.directory)));
  return { directories, skills: looked.flatMap((it) => it.skills), problems: looked.flatMap((it) => it.problems) };
}

function lookAt(collection: Collection, names: ReadonlySet<string> | undefined) {
  const { directory, skills, refused, problems: ofLock } = collection;
  const isMeant = (name: string) => names?.has(name) ?? true;
  const problems: Problem[] = [
    ...problemsOf(refused.filter((it) => it.directory === directory || isMeant(basename(it.directory)))),
    ...ofLock.map((it) => within(directory, it)),
  ];
  const usable: Found[] = [];
  for (const { skill, state } of skills.filter((it) => isMeant(it.skill.name))) {
    const folder = join(directory, skill.name);
    const read = readTests(skill);
    if (state === "changed") problems.push(within(folder, CHANGED));
    else if (read && "problems" in read) problems.push(...read.problems.map((it) => within(folder, it)));
    else usable.push({ skill, tests: read?.tests });
  }
  return { skills: usable, problems };
}

const CHANGED: Problem = {
  file: SKILL_FILE,
  message: "the skill is not what skills.lock has, so no gateway uses it",
  fix: "review it (`glovebox skill check`), then `glovebox skill lock`",
};

async function real(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}
