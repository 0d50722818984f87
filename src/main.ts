import { Command } from "commander";
import pc from "picocolors";
import { COMMANDS } from "./commands.ts";
import { VERSION } from "./config.ts";
import { asGatewayError } from "./errors.ts";

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

try {
  const [name = ""] = process.argv.slice(2);
  // What names none of them gets help, or a suggestion, of all.
  const asked = Object.entries(COMMANDS).filter(([it]) => it === name);
  const needed = asked.length > 0 || name === "--version" ? asked : Object.entries(COMMANDS);
  for (const [, make] of needed) program.addCommand(await make());
  await program.parseAsync();
} catch (error) {
  const failure = asGatewayError(error);
  const colour = pc.createColors(process.stderr.isTTY === true);
  process.stderr.write(
    `${colour.red(failure.code)}: ${failure.message}\n${colour.dim("What to do:")} ${failure.fix}\n`,
  );
  if (failure.code === "INTERNAL" && failure.cause instanceof Error) process.stderr.write(`${failure.cause.stack}\n`);
  process.exit(1);
}
