import { GatewayError } from "../errors.ts";
import { ECOSYSTEMS } from "../policy/ecosystems/ecosystem.ts";
import { type Answers, answersSchema, BASES, SHELL_ANSWERS } from "../policy/starter/answers.ts";

/** What the options have said so far; texts of lists have commas. */
export interface Given {
  readonly name?: string;
  readonly base?: string;
  readonly programs?: string;
  readonly hosts?: string;
  readonly packages?: string;
  readonly shell?: string;
}

/** What is not said and not asked is as its base has it: little. */
export function answersOf(given: Given): Answers {
  const base = given.base ?? "default";
  const read = answersSchema.safeParse({
    name: given.name ?? "my-policy",
    base,
    programs: listOf(given.programs),
    hosts: listOf(given.hosts),
    packages: listOf(given.packages),
    shell: given.shell ?? shellOf(base),
  });
  if (read.success) return read.data;
  const problems = read.error.issues.map((it) => `  --${it.path[0]?.toString()}: ${it.message}`);
  throw new GatewayError("INVALID_ARGUMENTS", `the answers can't be used:\n${problems.join("\n")}`);
}

/** Asks at the terminal for what the options leave out. Rejects with an `ExitPromptError` on Ctrl-C. */
export async function askFor(given: Given): Promise<Given> {
  // A gateway's start shall not pay for them.
  const [{ default: input }, { default: select }] = await Promise.all([
    import("@inquirer/input"),
    import("@inquirer/select"),
  ]);
  const context = { output: process.stderr };
  const problemOf = (answer: Given) => {
    try {
      answersOf(answer);
      return true;
    } catch (error) {
      return error instanceof GatewayError ? error.message : String(error);
    }
  };
  const text = (key: "name" | "programs" | "hosts" | "packages", message: string, initial: string) =>
    input({ message, default: initial, validate: (it) => problemOf({ [key]: it }) }, context);
  const choose = (
    message: string,
    values: readonly string[],
    initial: string,
    words: Readonly<Record<string, string>>,
  ) =>
    select(
      { message, default: initial, choices: values.map((value) => ({ value, name: `${value}: ${words[value]}` })) },
      context,
    );
  const name = given.name ?? (await text("name", "What is the policy called?", "my-policy"));
  const base = given.base ?? (await choose("What is it like?", BASES, "default", BASE_WORDS));
  const programs =
    given.programs ?? (await text("programs", "Which programs (git,npm; nothing: as the base has it)?", ""));
  const shell = given.shell ?? (await choose("May shell scripts be run?", SHELL_ANSWERS, shellOf(base), SHELL_WORDS));
  const hosts = given.hosts ?? (await text("hosts", "Which hosts may be reached (example.org,*.example.com)?", ""));
  const packages =
    given.packages ?? (await text("packages", `Packages of which ecosystems (${ECOSYSTEMS.join(",")})?`, ""));
  return { name, base, programs, shell, hosts, packages };
}

const BASE_WORDS = {
  "locked-down": "a short list of programs, files in the workspace only",
  default: "everything inside the sandbox, nothing outside it",
  development: "the same with more room and a writable root",
};
const SHELL_WORDS = { yes: "any script", no: "none", ask: "when a person allows it" };

function shellOf(base: string): Answers["shell"] {
  return base === "locked-down" ? "no" : "yes";
}

function listOf(text = ""): string[] {
  return text.split(",").flatMap((it) => (it.trim() === "" ? [] : [it.trim()]));
}
