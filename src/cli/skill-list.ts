import type { Command } from "commander";
import pc from "picocolors";
import { printable } from "../lib/text.ts";
import { problemText } from "../policy/bundle.ts";
import { type Collection, readCollections } from "../skill/collection.ts";
import { answer } from "./policy-answer.ts";
import type { SkillContext } from "./skill-context.ts";
import { checkFolder, exists, problemsOf, within } from "./skill-folders.ts";
import { shown } from "./skill-review-text.ts";

interface Options {
  readonly json?: boolean;
}

/** `glovebox skill list`: which skills there are, and whether they are what was locked. */
export function addList(command: Command, context: SkillContext): void {
  command
    .command("list")
    .argument("[directory...]", "folders of skills; when none is named, those in which the gateway looks")
    .option("--json", "print them as JSON")
    .description("list skills with their capabilities, and whether they are what was locked and signed")
    .addHelpText(
      "after",
      `
The gateway looks in the folder \`skills\` of what it comes with, of the system's settings and of the user's: beside glovebox.yaml.
Exit codes: 0 all are valid and none differs from its lock, 1 otherwise, 2 the question could not be answered.

Examples:
  $ glovebox skill list
  $ glovebox skill list ./skills --json`,
    )
    .action((directories: readonly string[], options: Options) => answer(() => list(directories, options, context)));
}

async function list(
  named: readonly string[],
  { json }: Options,
  { places, toolNames }: SkillContext,
): Promise<boolean> {
  for (const it of named) await checkFolder(it);
  const directories = named.length > 0 ? named : await present(places());
  const collections = await readCollections(directories, toolNames);
  if (json) console.log(JSON.stringify(collections.map(plain), null, 2));
  else if (collections.length === 0) console.log("no skills");
  else for (const it of collections) print(it);
  return collections.every(isInOrder);
}

async function present(directories: readonly string[]): Promise<readonly string[]> {
  const there = await Promise.all(directories.map(exists));
  return directories.filter((_, index) => there[index]);
}

function isInOrder({ skills, refused, missing, problems }: Collection): boolean {
  return [refused, missing, problems].every((it) => it.length === 0) && skills.every((it) => it.state !== "changed");
}

function plain({ skills, ...rest }: Collection): object {
  const listed = skills.map(({ skill: { name, version, digest, description, capabilities }, state }) => {
    return { name, version, digest, description, capabilities: capabilities.map((it) => it.name), state };
  });
  return { ...rest, skills: listed };
}

function print(collection: Collection): void {
  const { directory, skills, refused, missing, problems, isLocked, signedBy } = collection;
  const colour = pc.createColors(process.stdout.isTTY === true);
  const lock = isLocked
    ? signedBy.length > 0
      ? `signed by ${signedBy.join(", ")}`
      : "locked, unsigned"
    : "not locked";
  console.log(`${colour.bold(printable(directory))}  ${colour.dim(lock)}`);
  for (const { skill, state } of skills) {
    const coloured = { pinned: colour.green, unpinned: colour.yellow, changed: colour.red }[state](state);
    const capabilities = skill.capabilities.map((it) => it.name).join(", ");
    console.log(`  ${shown(skill.name)}  ${shown(skill.version)}  ${coloured}  ${shown(capabilities)}`);
  }
  for (const { name, version } of missing) console.log(`  ${shown(name)}  ${shown(version)}  ${colour.red("missing")}`);
  const all = [...problemsOf(refused), ...problems.map((it) => within(directory, it))];
  for (const it of all) console.log(`  ${printable(problemText(it))}`);
}
