import pc from "picocolors";
import { asGatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";

/** Whatever kept a question from being answered must not look like an answer. */
export const NO_ANSWER = 2;

/** Does what a subcommand of `policy` is for, and sets the exit code: 0 yes, 1 no, 2 no answer. */
export async function answer(work: () => Promise<boolean>): Promise<void> {
  try {
    process.exitCode = (await work()) ? 0 : 1;
  } catch (error) {
    const { code, message, fix } = asGatewayError(error);
    if (code === "INTERNAL") throw error;
    const colour = pc.createColors(process.stderr.isTTY === true);
    console.error(`${colour.red(code)}: ${printable(message, 100_000)}\n${colour.dim("What to do:")} ${fix}`);
    process.exitCode = NO_ANSWER;
  }
}
