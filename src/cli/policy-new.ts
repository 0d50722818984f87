import { resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { assembleBundle } from "../policy/assemble.ts";
import { problemText } from "../policy/bundle.ts";
import type { LoadPorts } from "../policy/load.ts";
import { starterFiles } from "../policy/starter/starter.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { writeFolder } from "./policy-folder.ts";
import { answersOf, askFor, type Given } from "./policy-questions.ts";

interface Options extends Given {
  readonly json?: boolean;
}

/** `glovebox policy new`: a bundle to begin with. */
export function addNew(command: Command, context: PolicyContext): void {
  command
    .command("new")
    .argument("<dir>", "a new folder for the bundle; one that is there is never touched")
    .description("write a bundle to begin with, after a few questions; what an option says is not asked")
    .option("--name <name>", "its name: lower-case letters, digits and dashes")
    .option("--base <base>", "locked-down, default or development")
    .option("--programs <names>", "only these, e.g. git,npm")
    .option("--hosts <names>", "hosts that may be reached, e.g. example.org,*.example.com:8443")
    .option("--packages <names>", "ecosystems or packages that may be installed, e.g. npm,pip:requests")
    .option("--shell <answer>", "whether shell scripts may be run: yes, no or ask")
    .option("--json", "ask nothing, and print the answers and the files' names as JSON")
    .addHelpText(
      "after",
      `
Without a terminal nothing is asked: what no option says is as the base has it, without hosts or packages.

Examples:
  $ glovebox policy new ./policy
  $ glovebox policy new ./policy --base locked-down --programs git,npm,node --packages npm --shell no --name acme-build`,
    )
    .action((directory: string, options: Options) => answer(async () => run(directory, options, await context.load())));
}

async function run(directory: string, { json, ...given }: Options, language: LoadPorts): Promise<boolean> {
  const interactive = process.stdin.isTTY === true && process.stderr.isTTY === true && !json;
  const asked = interactive ? await askFor(given).catch(givenUp) : given;
  const answers = answersOf(asked);
  const files = starterFiles(answers);
  const checked = assembleBundle(new Map([...files].sort()), new Map(), language);
  if (!checked.valid) {
    // It is made to be valid: this is a mistake in here.
    const problems = checked.problems.map(problemText).join("\n");
    throw new GatewayError("INTERNAL", `the new bundle is not valid:\n${problems}`);
  }
  await writeFolder(resolve(directory), files);
  if (json) {
    console.log(JSON.stringify({ directory: resolve(directory), answers, files: [...files.keys()] }, null, 2));
    return true;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  const { policies, tests } = checked.bundle;
  console.log(`${printable(directory)} is a valid bundle: ${policies.size} policies, ${tests.length} tests passed`);
  console.log(colour.dim(`next: read it, change it, then \`glovebox policy check ${printable(directory)}\``));
  return true;
}

function givenUp(error: unknown): never {
  if (error instanceof Error && error.name === "ExitPromptError") {
    throw new GatewayError("CANCELLED", "nothing was written", { cause: error });
  }
  throw error;
}
