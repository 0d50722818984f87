import { join, resolve } from "node:path";
import type { Problem } from "../policy/bundle.ts";
import { SKILL_FILE } from "./frontmatter.ts";
import { type RefusedSkill, readSkills } from "./load.ts";
import { compareLock, type LockedSkill, type Pinned, readLock } from "./lock.ts";
import { readSigners } from "./sign.ts";
import type { Skill } from "./skill.ts";

/** A folder of skills' folders, with the lock of them all beside them. */
export interface Collection {
  readonly directory: string;
  /** By name. Where the lock can't be believed each is `changed`. */
  readonly skills: readonly Pinned<Skill>[];
  readonly refused: readonly RefusedSkill[];
  /** Locked, and not there, or refused. */
  readonly missing: readonly LockedSkill[];
  readonly isLocked: boolean;
  /** Ids of the keys that signed the lock. */
  readonly signedBy: readonly string[];
  /** Of the lock and its signature, relative to the directory. */
  readonly problems: readonly Problem[];
}

/**
 * Reads the skills of these folders, and how they stand to the lock of the folder that each lies in. Of several skills of one name none is used.
 * @param tools names that are taken
 */
export async function readCollections(
  directories: readonly string[],
  tools: ReadonlySet<string>,
): Promise<readonly Collection[]> {
  const collections: Collection[] = [];
  for (const it of new Set(directories.map((it) => resolve(it)))) collections.push(await readCollection(it, tools));
  const places = Map.groupBy(
    collections.flatMap(({ directory, skills }) => skills.map(({ skill: { name } }) => ({ name, directory }))),
    (it) => it.name,
  );
  return collections.map((it) => {
    const twins = it.skills.filter(({ skill }) => places.get(skill.name)?.length !== 1);
    const refused = twins.map(({ skill: { name } }) => {
      const others = (places.get(name) ?? [])
        .map(({ directory }) => directory)
        .filter((other) => other !== it.directory);
      const message = `there is another skill \`${name}\` in ${others.join(", ")}`;
      return {
        directory: join(it.directory, name),
        problems: [{ file: SKILL_FILE, message, fix: "remove all but one" }],
      };
    });
    return { ...it, skills: it.skills.filter((one) => !twins.includes(one)), refused: [...it.refused, ...refused] };
  });
}

async function readCollection(directory: string, tools: ReadonlySet<string>): Promise<Collection> {
  const { skills, refused } = await readSkills([directory], tools);
  const lock = await readLock(directory);
  if (!lock) {
    return { directory, refused, ...compareLock([], skills), isLocked: false, signedBy: [], problems: [] };
  }
  if ("problems" in lock) {
    const all = skills.map((skill) => ({ skill, state: "changed" as const }));
    return { directory, skills: all, refused, missing: [], isLocked: true, signedBy: [], problems: lock.problems };
  }
  const signers = await readSigners(directory, lock.bytes);
  return { directory, refused, ...compareLock(lock.lock, skills), isLocked: true, ...signers };
}
