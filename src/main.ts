import { Command } from "commander";
import pc from "picocolors";
import { COMMANDS } from "./commands.ts";
import { VERSION } from "./config.ts";
import { asGatewayError } from "./errors.ts";
import { keepVerifying } from "./lib/keep-verifying.ts";

keepVerifying(process.env, (line) => process.stderr.write(`${line}\n`));

const program = new Command("glovebox")
  .description("Hands for AI agents, inside a sealed box: policy, audit log, and a virtual machine for each session.")
  .version(VERSION)
  // `--version` behind a subcommand is the subcommand's.
  .enablePositionalOptions()
  .showHelpAfterError()
  .showSuggestionAfterError()
  .addHelpText(
    "after",
    `
First steps:
  $ glovebox doctor                  is everything there?
  $ glovebox image build             build the guest image (some minutes, once)
  $ glovebox install claude-code     plug it into a client
  $ glovebox audit tail              see what agents did`,
  );

/** As the command itself says it with `--help`: `help audit query` is of `query`. */
function asked(args: readonly string[]): readonly string[] {
  const [first, ...path] = args;
  const [name] = path;
  if (first !== "help" || name === undefined) return args;
  return Object.hasOwn(COMMANDS, name) ? [...path, "--help"] : path;
}

/** Commander does not hand these on to commands that were made elsewhere. */
function addHelpTo(command: Command): void {
  command.showHelpAfterError("(--help says what there is)").showSuggestionAfterError();
  for (const below of command.commands) addHelpTo(below);
}

try {
  const args = asked(process.argv.slice(2));
  const [name = ""] = args;
  // What names none of them gets help, or a suggestion, of all.
  const named = Object.entries(COMMANDS).filter(([it]) => it === name);
  const needed = named.length > 0 || name === "--version" ? named : Object.entries(COMMANDS);
  for (const [, make] of needed) {
    const command = await make();
    addHelpTo(command);
    program.addCommand(command);
  }
  await program.parseAsync(args, { from: "user" });
} catch (error) {
  const failure = asGatewayError(error);
  const colour = pc.createColors(process.stderr.isTTY === true);
  process.stderr.write(
    `${colour.red(failure.code)}: ${failure.message}\n${colour.dim("What to do:")} ${failure.fix}\n`,
  );
  if (failure.code === "INTERNAL" && failure.cause instanceof Error) process.stderr.write(`${failure.cause.stack}\n`);
  process.exit(1);
}
