import type { Command } from "commander";
import pc from "picocolors";
import { loadConfig, VERSION } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { type Gateway, openGateway } from "../gateway.ts";
import { printable } from "../lib/text.ts";
import { stdioPrincipal } from "../mcp/principal.ts";
import { problemText } from "../policy/bundle.ts";
import { runTests } from "../skill/test-run.ts";
import { testWorkspace } from "../skill/test-workspace.ts";
import { answer } from "./policy-answer.ts";
import { several } from "./several.ts";
import type { SkillContext } from "./skill-context.ts";
import { noSkills } from "./skill-folders.ts";
import { type Found, findTested } from "./skill-test-find.ts";
import { stoppable } from "./skill-test-stop.ts";
import { resultText, type SkillResults, summary } from "./skill-test-text.ts";

interface Options {
  readonly policy?: string;
  readonly only: readonly string[];
  readonly json?: boolean;
}

/** `glovebox skill test`: whether skills do what their tests.yaml says, in a sandbox, under the policy that is in force. */
export function addTest(command: Command, context: SkillContext): void {
  command
    .command("test")
    .argument("[directory...]", "folders of skills, or of a skill; this one when none is named")
    .option("--policy <dir>", "your policy bundle, as `glovebox serve` takes it")
    .option("--only <name>", "only the tests of this name; may be given more than once", several, [])
    .option("--json", "print the results as JSON")
    .description("run each skill's tests.yaml in a sandbox, under the policy that is in force on this computer")
    .addHelpText(
      "after",
      `
Each test is a call as an agent makes it: policy decides it, and it is on record. It begins with an empty /workspace; a skill's tests share
the packages that are installed for it. A test whose \`needs\` policy does not give is left out, and the reason printed. What differs from
skills.lock is refused here as the gateway refuses it.
Exit codes: 0 none failed, 1 one failed or a skill can't be used, 2 the question could not be answered.

Examples:
  $ glovebox skill test skills/word-count
  $ glovebox skill test skills --policy ./policy --json`,
    )
    .action(async (directories: readonly string[], options: Options) => {
      await answer(() => test(directories.length === 0 ? ["."] : directories, options, context));
      // Whatever a library keeps open must not keep the process.
      process.exit();
    });
}

async function test(named: readonly string[], options: Options, { toolNames }: SkillContext): Promise<boolean> {
  const { policy, only, json } = options;
  const isAll = only.length === 0;
  using stop = stoppable();
  const env = { GLOVEBOX_LOG_LEVEL: "error", ...process.env };
  const config = loadConfig({ spares: "0", ...(policy !== undefined && { policy }) }, env);
  const found = await findTested(named, config.skillDirectories, toolNames);
  const { problems, directories } = found;
  if (found.skills.length + problems.length === 0) noSkills(named);
  const chosen = found.skills
    .map((it) => ({ ...it, tests: it.tests?.filter((each) => isAll || only.includes(each.name)) }))
    .filter((it) => isAll || (it.tests ?? []).length > 0);
  const count = chosen.flatMap((it) => it.tests ?? []).length;
  if (count + problems.length === 0) {
    const what = isAll
      ? "any tests: write tests.yaml"
      : `a test ${only.map((it) => `\`${printable(it)}\``).join(" or ")}`;
    throw new GatewayError("INVALID_ARGUMENTS", `none of these skills has ${what}`);
  }
  if (!json) for (const problem of problems) console.log(printable(problemText(problem)));
  const results = count === 0 ? [] : await run(chosen, { ...config, skillDirectories: directories }, stop.signal, json);
  const told = summary(results, problems.length);
  if (json) console.log(JSON.stringify({ ...told.counts, problems, skills: results }, null, 2));
  else console.log(told.text);
  return told.counts.failed === 0 && problems.length === 0;
}

async function run(
  skills: readonly Found[],
  config: ReturnType<typeof loadConfig>,
  signal: AbortSignal,
  json = false,
): Promise<readonly SkillResults[]> {
  const { tell, say } = voices(json);
  tell("opening a gateway");
  await using gateway = await openGateway(config, signal);
  const port = { signal, call: callsOf(gateway, signal, (it) => tell(it, "  ")) };
  const workspace = testWorkspace(port);
  const results: SkillResults[] = [];
  for (const { skill, tests } of skills) {
    const { name, version, digest } = skill;
    say(`${name} ${version}${tests ? "" : ": has no tests.yaml"}`);
    const ran = await runTests({
      skill,
      tests: tests ?? [],
      port,
      workspace,
      onBegin: (it) => tell(`${name}: ${it.name}`),
      onEnd: (it) => say(resultText(it, pc.createColors(process.stdout.isTTY === true))),
    });
    results.push({ name, version, digest, tests: ran });
  }
  return results;
}

function callsOf({ server }: Gateway, signal: AbortSignal, progress: (message: string) => void) {
  const principal = stdioPrincipal({ name: "glovebox skill test", version: VERSION });
  return (tool: string, args: object) => server.call({ tool, args, principal, signal, progress });
}

/** Results belong to stdout, and what is going on meanwhile to stderr, where nothing is said twice in a row. */
function voices(json: boolean) {
  let last = "";
  const colour = pc.createColors(process.stderr.isTTY === true);
  const tell = (message: string, indent = "") => {
    const line = printable(message.trim().split("\n").at(-1) ?? "", 200);
    if (line === last || line === "") return;
    last = line;
    console.error(colour.dim(`${indent}${line}`));
  };
  return { tell, say: (text: string) => (json ? undefined : console.log(text)) };
}
