import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { problemText } from "../policy/bundle.ts";
import { readSkill } from "../skill/load.ts";
import { STARTER_CAPABILITY, starterSkill } from "../skill/starter.ts";
import { answer } from "./policy-answer.ts";
import type { SkillContext } from "./skill-context.ts";

interface Options {
  readonly json?: boolean;
}

const MAX_TOOL_CHARS = 64;

/** `glovebox skill new`: a skill to begin with. */
export function addNew(command: Command, context: SkillContext): void {
  command
    .command("new")
    .argument("<directory>", "a new folder, which has the skill's name; one that is there is never touched")
    .description("write a skill to begin with: one capability, its script and its tests")
    .option("--json", "print the files' names as JSON")
    .addHelpText(
      "after",
      `
Example:
  $ glovebox skill new skills/word-count`,
    )
    .action((directory: string, options: Options) => answer(() => run(resolve(directory), options, context)));
}

async function run(directory: string, { json }: Options, { toolNames }: SkillContext): Promise<boolean> {
  const name = checkName(basename(directory), toolNames);
  const files = starterSkill(name);
  await writeSkill(directory, files);
  const read = await readSkill(directory, toolNames);
  if ("problems" in read) {
    // It is made to be valid: this is a mistake in here.
    const problems = read.problems.map(problemText).join("\n");
    throw new GatewayError("INTERNAL", `the new skill is not valid:\n${problems}`);
  }
  if (json) {
    console.log(JSON.stringify({ directory, name, files: [...files.keys()] }, null, 2));
    return true;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  console.log(`${name} is a valid skill: ${[...files.keys()].join(", ")}`);
  console.log(colour.dim(`next: change it, then \`glovebox skill check ${printable(directory)}\``));
  return true;
}

function checkName(name: string, toolNames: ReadonlySet<string>): string {
  const refuse = (problem: string) =>
    new GatewayError("INVALID_ARGUMENTS", `\`${printable(name)}\` can't be a skill's name: ${problem}`);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) throw refuse("use a-z, 0-9 and single hyphens between them");
  const room = MAX_TOOL_CHARS - `_${STARTER_CAPABILITY}`.length;
  if (name.length > room)
    throw refuse(`it is longer than ${room} characters, which its capability's name has to follow`);
  if (toolNames.has(name)) throw refuse("a tool has it");
  return name;
}

/** INVARIANT: the folder is made here, so that nothing that was there is replaced, and no link is followed. */
async function writeSkill(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  try {
    await mkdir(dirname(directory), { recursive: true, mode: 0o755 });
    await mkdir(directory, { mode: 0o755 });
    for (const [path, text] of files) {
      const file = join(directory, path);
      await mkdir(dirname(file), { recursive: true, mode: 0o755 });
      await writeFile(file, text, { mode: 0o644, flag: "wx" });
    }
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    const why =
      cause.code === "EEXIST" ? "it is there already, and nothing is replaced; name a new folder" : cause.message;
    const message = `cannot write the skill \`${printable(directory)}\`: ${printable(why)}`;
    throw new GatewayError("INVALID_ARGUMENTS", message, { cause });
  }
}
