import { Command } from "commander";
import { NO_ANSWER } from "./policy-answer.ts";
import { addCheck } from "./skill-check.ts";
import type { SkillContext } from "./skill-context.ts";
import { addList } from "./skill-list.ts";
import { addLock } from "./skill-lock.ts";
import { addNew } from "./skill-new.ts";
import { addTest } from "./skill-test.ts";

/** `glovebox skill …`. */
export function skillCommand(context: SkillContext): Command {
  const command = new Command("skill")
    .description("write, review, test, lock and list skills: bundles of named capabilities")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : NO_ANSWER))
    .addHelpText(
      "after",
      `
A skill is a folder with SKILL.md, capabilities.yaml and whatever they need; docs/skills.md teaches it.
Exit codes: 0 yes, 1 no, 2 the question could not be answered.

Examples:
  $ glovebox skill new skills/word-count
  $ glovebox skill check skills/word-count
  $ glovebox skill test skills/word-count
  $ glovebox skill lock skills --key acme-skills.key
  $ glovebox skill list`,
    );
  addNew(command, context);
  addCheck(command, context);
  addTest(command, context);
  addLock(command, context);
  addList(command, context);
  return command;
}
