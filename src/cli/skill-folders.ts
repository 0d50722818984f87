import { access, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { Problem } from "../policy/bundle.ts";
import { DEFINITION_FILE } from "../skill/definition.ts";
import { SKILL_FILE } from "../skill/frontmatter.ts";
import type { RefusedSkill } from "../skill/load.ts";

/** Whether a folder is a skill, or begins to be one, rather than a folder of skills. */
export async function isSkillFolder(directory: string): Promise<boolean> {
  const found = await Promise.all([SKILL_FILE, DEFINITION_FILE].map((name) => exists(join(directory, name))));
  return found.includes(true);
}

/** @throws GatewayError INVALID_ARGUMENTS when it is none */
export async function checkFolder(directory: string): Promise<void> {
  const refuse = (what: string) => new GatewayError("INVALID_ARGUMENTS", `\`${printable(directory)}\` ${what}`);
  const stats = await stat(directory).catch((error: unknown) => {
    if (isMissing(error)) throw refuse("is not there");
    throw refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (!stats.isDirectory()) throw refuse("is not a folder");
}

export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error) return false;
    throw error;
  }
}

/** What is wrong with skills, with paths that say which. */
export function problemsOf(refused: readonly RefusedSkill[]): readonly Problem[] {
  return refused.flatMap(({ directory, problems }) => problems.map((it) => within(directory, it)));
}

/** With a path that an editor finds from here. */
export function within(directory: string, problem: Problem): Problem {
  const path = join(resolve(directory), problem.file);
  const below = relative(process.cwd(), path);
  return { ...problem, file: below.startsWith("..") ? path : below };
}

/** @throws GatewayError INVALID_ARGUMENTS */
export function noSkills(directories: readonly string[]): never {
  const where = directories.map((it) => `\`${printable(it)}\``).join(", ");
  throw new GatewayError("INVALID_ARGUMENTS", `there is no skill in ${where}`);
}
