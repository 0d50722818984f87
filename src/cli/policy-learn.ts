import { resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { historyOf } from "../audit/history.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { type Learned, learn } from "../policy/learn/learn.ts";
import type { LoadPorts } from "../policy/load.ts";
import type { PastDecision } from "../policy/past.ts";
import { print, readable } from "./audit-io.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { writeFolder } from "./policy-folder.ts";
import { nothingText, passedOverLines } from "./policy-simulate.ts";

/** What a person could read a proposal made from, and memory could hold. */
const MAX_DECISIONS = 10_000;

interface Options {
  readonly replay: string;
  readonly session: string;
  readonly to?: string;
  readonly json?: boolean;
}

/** `glovebox policy learn`: a first draft of a policy, made from what a session did. */
export function addLearn(command: Command, context: PolicyContext): void {
  command
    .command("learn")
    .description("propose the narrowest bundle that permits what a session was permitted; a person has to edit it")
    .requiredOption("--replay <log>", "an audit directory, one chain's directory, or one .jsonl file of it")
    .requiredOption("--session <id>", "whose calls, e.g. ses-0mwpl…")
    .option("--to <dir>", "a new folder for the bundle (default: print it)")
    .option("--json", "print files and counts as JSON")
    .addHelpText(
      "after",
      `
Programs are permitted by their arguments, scripts by their digest, files by their directories, hosts by name and port, packages by name.
What was denied, and what could only be permitted with more than was seen, is listed in comments.

Examples:
  $ glovebox policy learn --replay ~/.local/share/glovebox/audit --session ses-0mwplkhc8c2b36263ab4f8dbd
  $ glovebox policy learn --replay audit --session ses-0mwplkhc8c2b36263ab4f8dbd --to ./proposal && glovebox policy check ./proposal`,
    )
    .action((options: Options) => answer(async () => run(options, await context.load())));
}

async function run({ replay, session, to, json }: Options, language: LoadPorts): Promise<boolean> {
  const path = resolve(replay);
  const history = historyOf(path, { session });
  const decisions = await readable(path, collected(history.decisions));
  if (decisions.length === 0) throw new GatewayError("INVALID_ARGUMENTS", nothingText(path, history));
  const notes = passedOverLines(history).map((it) => it.trim());
  const learned = learn(decisions, { log: path, session, notes }, language);
  if (to !== undefined) await writeFolder(resolve(to), learned.files);
  if (json) {
    const { permitted, leftOut, files } = learned;
    const counts = { decisions: decisions.length, permitted, leftOut: leftOut.length, notes };
    await print([JSON.stringify({ ...counts, files: Object.fromEntries(files) }, null, 2)]);
    return true;
  }
  if (to === undefined) await print([...learned.files].map(([name, text]) => `# ---- ${name}\n${text}`));
  for (const line of told(learned, decisions.length, notes, to)) console.error(line);
  return true;
}

function told(
  { permitted, leftOut }: Learned,
  total: number,
  notes: readonly string[],
  to: string | undefined,
): string[] {
  const colour = pc.createColors(process.stderr.isTTY === true);
  const where = to === undefined ? "" : ` into ${printable(to)}`;
  return [
    `made${where} from ${total} decisions: ${permitted - leftOut.length} are permitted, ${leftOut.length} are left to you, ${total - permitted} were not permitted then`,
    ...notes.map((it) => `  ${printable(it)}`),
    colour.yellow("read and edit it before you use it: an agent chose what it was made from"),
  ];
}

async function collected(decisions: AsyncIterable<PastDecision>): Promise<PastDecision[]> {
  const all: PastDecision[] = [];
  for await (const it of decisions) {
    if (all.length === MAX_DECISIONS) {
      throw new GatewayError(
        "INVALID_ARGUMENTS",
        `the session has more than ${MAX_DECISIONS} decisions; learn from a shorter one`,
      );
    }
    // Of the arguments, a script is all that is used.
    const { arguments: args, ...rest } = it;
    all.push(it.request.action === "shell" ? { ...rest, arguments: args } : rest);
  }
  return all;
}
