import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { setTimeout as later } from "node:timers/promises";
import { Command } from "commander";
import pc from "picocolors";
import { MAX_COMMENT_CHARS, writeAnswer } from "../approval/answer-file.ts";
import { answerPath, questionPath } from "../approval/approval-files.ts";
import { nameOfUid } from "../approval/owner.ts";
import { type Pending, readQuestions } from "../approval/question-file.ts";
import { questionText } from "../approval/text.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { visible } from "../lib/visible.ts";

export interface ApproveContext {
  /** Of a data directory, or of the configured one. */
  readonly stateDirectory: (dataDir: string | undefined) => string;
}

interface Options {
  readonly allow?: boolean;
  readonly deny?: boolean;
  readonly session?: boolean;
  readonly comment?: string;
  readonly watch?: boolean;
  readonly json?: boolean;
  readonly dataDir?: string;
}

interface Choice {
  readonly verdict: "allow" | "deny";
  readonly scope: "call" | "session";
}

const POLL_MS = 250;
/** The gateway looks twice a second. */
const TAKEN_WITHIN_MS = 5_000;
const REFUSED_AFTER_MS = 1_000;
const CODE_LETTERS = "abcdefghkmnpqrstuvwxyz23456789";

/** `glovebox approve`: shows people what agents wait for, and takes their answers, at a terminal only. */
export function approveCommand(context: ApproveContext): Command {
  return new Command("approve")
    .argument("[id]", "one question; without, all that wait, oldest first")
    .description("answer what agents ask a person for")
    .option("--allow", "allow it, once")
    .option("--deny", "deny it")
    .option("--session", "with --allow: also what is like it, as the question says, as long as the session lasts")
    .option("--comment <text>", "kept in the audit log; the agent is told when it is denied")
    .option("--watch", "stay, and show each question as it comes")
    .option("--json", "print the questions that wait as JSON, and answer none")
    .option("--data-dir <dir>", "where the gateway keeps its state (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
Every answer is confirmed by typing a code that is shown: no program answers for a person. Where the settings name approvers, one of them
answers by \`sudo glovebox approve --data-dir <the gateway's>\`. docs/approvals.md says what an answer is bound to.
Exit codes: 0 answered, or nothing waits; 1 not.

Examples:
  $ glovebox approve                 show what waits, and ask
  $ glovebox approve --watch         in a terminal beside the agent's
  $ glovebox approve apr_5b6f… --deny --comment "use a branch"
  $ glovebox approve --json          for status bars`,
    )
    .action((id: string | undefined, options: Options) => approve(id, options, context));
}

async function approve(id: string | undefined, options: Options, context: ApproveContext): Promise<void> {
  const directory = join(context.stateDirectory(options.dataDir), "approvals");
  checkOptions(options);
  const read = async () => {
    const all = await readQuestions(directory, Date.now());
    return id === undefined ? all : all.filter(({ question }) => question.id === id);
  };
  if (options.json) return console.log(JSON.stringify(await read(), null, 2));
  // INVARIANT: an agent that has a shell of its own on this computer is no person. Piped input is how programs answer by accident.
  if (process.stdin.isTTY !== true || process.stdout.isTTY !== true) throw new GatewayError("TERMINAL_NEEDED");
  const pending = await read();
  if (id !== undefined && pending.length === 0) throw new GatewayError("APPROVAL_NOT_FOUND");
  if (options.watch) return await watch(pending, read, directory, options);
  if (pending.length === 0) return console.log("nothing waits for an answer");
  for (const it of pending) if (!(await settle(it, directory, options))) process.exitCode = 1;
}

function checkOptions({ allow, deny, session, watch, comment = "" }: Options): void {
  const refuse = (problem: string) => new GatewayError("INVALID_ARGUMENTS", problem);
  if (allow && deny) throw refuse("--allow and --deny: only one of them");
  if (comment.length > MAX_COMMENT_CHARS) throw refuse(`--comment: at most ${MAX_COMMENT_CHARS} characters`);
  if (session && !allow) throw refuse("--session goes with --allow");
  if (watch && (allow || deny))
    throw refuse("--watch shows each question before it is answered; leave out --allow and --deny");
}

async function watch(
  first: readonly Pending[],
  read: () => Promise<readonly Pending[]>,
  directory: string,
  options: Options,
) {
  console.log("waiting for questions (Ctrl-C ends)");
  const seen = new Set<string>();
  for (let pending = first; ; pending = await read()) {
    for (const it of pending.filter(({ question }) => !seen.has(question.id))) {
      seen.add(it.question.id);
      process.stdout.write("\u0007");
      await settle(it, directory, options).catch(report);
    }
    await later(POLL_MS);
  }
}

/** Others may have answered meanwhile: the next question is as good. */
function report(error: unknown): void {
  if (!(error instanceof GatewayError)) throw error;
  console.error(`${error.code}: ${printable(error.message)}`);
}

/** Shows a question and takes the answer to it; whether there was one, and the gateway took it. */
async function settle({ question, approvers }: Pending, directory: string, options: Options): Promise<boolean> {
  const colour = pc.createColors(process.stdout.isTTY === true);
  console.log(`\n${colour.bold(question.id)}\n${questionText(question)}\n`);
  const owner = await ownerOf(approvers);
  const choice = chosen(options) ?? (await choose(question.pattern !== undefined));
  if (choice === undefined) return false;
  if (choice.scope === "session" && question.pattern === undefined)
    throw new GatewayError("INVALID_ARGUMENTS", "--session: this can be allowed once only");
  if (!(await confirmed(wordOf(choice)))) {
    console.log("not confirmed: nothing was answered");
    return false;
  }
  const { id: questionId, digest } = question;
  const { comment } = options;
  await writeAnswer(directory, { questionId, digest, ...choice, ...(comment !== undefined && { comment }) }, owner);
  const taken = await isTaken(directory, questionId);
  console.log(taken ? colour.green(`answered: ${wordOf(choice)}`) : colour.red("the gateway did not take the answer"));
  return taken;
}

/**
 * Who the answer is to be from, where that is not whoever this process runs as: by `sudo`, the one who called it.
 * @throws GatewayError NOT_AN_APPROVER
 */
async function ownerOf(approvers: readonly string[] | undefined): Promise<{ readonly uid: number } | undefined> {
  if (approvers === undefined) return undefined;
  const own = process.getuid?.() ?? -1;
  const caller = process.env["SUDO_UID"];
  const uid = own === 0 && caller !== undefined && /^\d{1,10}$/.test(caller) ? Number(caller) : own;
  if (approvers.includes(await nameOfUid(uid))) return { uid };
  const names = visible(approvers.join(", "));
  throw new GatewayError(
    "NOT_AN_APPROVER",
    `only ${names} may answer this: one of them, by \`sudo glovebox approve --data-dir <dir>\``,
  );
}

function chosen({ allow, deny, session }: Options): Choice | undefined {
  if (deny) return { verdict: "deny", scope: "call" };
  return allow ? { verdict: "allow", scope: session ? "session" : "call" } : undefined;
}

async function choose(hasPattern: boolean): Promise<Choice | undefined> {
  const forSession = hasPattern ? "  [s] allow for the session" : "";
  const answer = await prompted(`[a] allow once${forSession}  [d] deny  [l] later: `);
  if (answer === "a") return { verdict: "allow", scope: "call" };
  if (answer === "s" && hasPattern) return { verdict: "allow", scope: "session" };
  return answer === "d" ? { verdict: "deny", scope: "call" } : undefined;
}

function wordOf({ verdict, scope }: Choice): string {
  if (verdict === "deny") return "deny";
  return scope === "session" ? "allow for the session" : "allow once";
}

async function confirmed(what: string): Promise<boolean> {
  const code = Array.from({ length: 4 }, () => CODE_LETTERS[randomInt(CODE_LETTERS.length)]).join("");
  return (await prompted(`Type ${code} to ${what}: `)) === code;
}

/** What a person types, without spaces around it; empty at the end of the input. */
async function prompted(text: string): Promise<string> {
  using terminal = createInterface({ input: process.stdin, output: process.stdout });
  const closed = new AbortController();
  terminal.once("close", () => closed.abort());
  terminal.once("SIGINT", () => process.exit(130));
  try {
    return (await terminal.question(text, { signal: closed.signal })).trim();
  } catch (error) {
    if (closed.signal.aborted) return "";
    throw error;
  }
}

/** The gateway removes the question with an answer that it takes, and only the answer otherwise. */
async function isTaken(directory: string, id: string): Promise<boolean> {
  let goneAt = Number.POSITIVE_INFINITY;
  for (const deadline = Date.now() + TAKEN_WITHIN_MS; Date.now() < deadline; await later(POLL_MS)) {
    if (!existsSync(questionPath(directory, id))) return true;
    if (!existsSync(answerPath(directory, id))) goneAt = Math.min(goneAt, Date.now());
    if (Date.now() - goneAt > REFUSED_AFTER_MS) return false;
  }
  return false;
}
