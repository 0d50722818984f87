import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { printable } from "../lib/text.ts";
import { type Problem, problemText } from "../policy/bundle.ts";
import { readCollections } from "../skill/collection.ts";
import { readSkill } from "../skill/load.ts";
import { type LockedSkill, readLock } from "../skill/lock.ts";
import { type Review, reviewOf } from "../skill/review.ts";
import type { Skill } from "../skill/skill.ts";
import { readTests } from "../skill/tests.ts";
import { answer } from "./policy-answer.ts";
import type { SkillContext } from "./skill-context.ts";
import { checkFolder, isSkillFolder, noSkills, problemsOf, within } from "./skill-folders.ts";
import { reviewText } from "./skill-review-text.ts";

interface Options {
  readonly json?: boolean;
}

/** `glovebox skill check`: whether skills are valid, and what there is to look at in them. */
export function addCheck(command: Command, context: SkillContext): void {
  command
    .command("check")
    .argument("[directory...]", "folders of skills, or of a skill; this one when none is named")
    .description(
      "validate skills, naming every problem with file, line and column, and print what a reviewer must look at",
    )
    .option("--json", "print problems and reviews as JSON")
    .addHelpText(
      "after",
      `
The review has each capability's programs as they are written, what they need, every file, and what does not meet the eye. Whether a skill
differs from what was locked is said as well; \`glovebox skill lock\` takes it over once somebody has looked.
Exit codes: 0 all are valid, 1 they are not, 2 the question could not be answered.

Examples:
  $ glovebox skill check skills/word-count
  $ glovebox skill check skills --json`,
    )
    .action((directories: readonly string[], options: Options) =>
      answer(() => check(directories.length === 0 ? ["."] : directories, options, context)),
    );
}

async function check(named: readonly string[], { json }: Options, { toolNames }: SkillContext): Promise<boolean> {
  const { reviews, problems } = await look(named, toolNames);
  if (reviews.length + problems.length === 0) noSkills(named);
  if (json) {
    console.log(JSON.stringify({ valid: problems.length === 0, problems, reviews }, null, 2));
    return problems.length === 0;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  for (const review of reviews) console.log(`${reviewText(review, colour)}\n`);
  for (const problem of problems) console.log(printable(problemText(problem)));
  const [count, skills] = [problems.length, reviews.length];
  if (count > 0) console.log(colour.red(count === 1 ? "not valid: 1 problem" : `not valid: ${count} problems`));
  else console.log(colour.green(skills === 1 ? "1 skill is valid" : `${skills} skills are valid`));
  return count === 0;
}

/** Skills that are named themselves, and those in folders that are. */
async function look(named: readonly string[], toolNames: ReadonlySet<string>) {
  const problems: Problem[] = [];
  const reviews: Review[] = [];
  const directories: string[] = [];
  for (const directory of named) {
    await checkFolder(directory);
    if (!(await isSkillFolder(directory))) {
      directories.push(directory);
      continue;
    }
    const read = await readSkill(directory, toolNames);
    const lock = await readLock(dirname(resolve(directory)));
    if (lock && "problems" in lock) problems.push(...lock.problems.map((it) => within(dirname(directory), it)));
    if ("problems" in read) problems.push(...read.problems.map((it) => within(directory, it)));
    else {
      reviews.push(reviewOf(read.skill, lockedIn(lock, read.skill.name)));
      problems.push(...testProblems(read.skill, directory));
    }
  }
  for (const { directory, skills, refused, problems: ofLock } of await readCollections(directories, toolNames)) {
    problems.push(...problemsOf(refused), ...ofLock.map((it) => within(directory, it)));
    reviews.push(...skills.map(({ skill, locked }) => reviewOf(skill, locked)));
    problems.push(...skills.flatMap(({ skill }) => testProblems(skill, join(directory, skill.name))));
  }
  return { reviews, problems };
}

function testProblems(skill: Skill, directory: string): readonly Problem[] {
  const read = readTests(skill);
  return read && "problems" in read ? read.problems.map((it) => within(directory, it)) : [];
}

function lockedIn(lock: Awaited<ReturnType<typeof readLock>>, name: string): LockedSkill | undefined {
  return lock && "lock" in lock ? lock.lock.find((it) => it.name === name) : undefined;
}
