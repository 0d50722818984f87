import { GatewayError } from "../errors.ts";
import type { RunSpec } from "./container.ts";

/** What Linux's execve takes: one argument or variable, and all with a pointer each (2 MiB, less what the engine adds). */
const MAX_TEXT_BYTES = 131_071;
const MAX_TEXTS_BYTES = 1_966_080;

const MAX_TERMINAL_CELLS = 1000;

/**
 * Arguments travel as JSON in UTF-8: a lone surrogate or a NUL would make the program get something else than policy saw.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function checkSpec(spec: RunSpec): void {
  const { run, argv, cwd, env, terminal } = spec;
  const texts = [run, cwd, ...argv, ...variablesOf(spec)];
  if (!texts.every((it) => it.isWellFormed() && !it.includes("\0"))) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      "arguments, environment and directory hold no NUL and are valid Unicode",
    );
  }
  if (!Object.keys(env).every((name) => name !== "" && !name.includes("="))) {
    throw new GatewayError("INVALID_ARGUMENTS", "a variable's name is not empty and holds no `=`");
  }
  if (terminal && !(isLength(terminal.columns) && isLength(terminal.rows))) {
    throw new GatewayError("INVALID_ARGUMENTS", `a terminal has 1 to ${MAX_TERMINAL_CELLS} columns and rows`);
  }
  if (!cwd.startsWith("/")) throw new GatewayError("INVALID_ARGUMENTS", "the working directory is an absolute path");
  const sizes = texts.map((it) => Buffer.byteLength(it));
  if (sizes.some((it) => it > MAX_TEXT_BYTES) || sizes.reduce((sum, it) => sum + it + 9, 0) > MAX_TEXTS_BYTES) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      "the arguments are longer than the kernel takes; use `stdin` or a file",
    );
  }
}

function isLength(cells: number): boolean {
  return Number.isInteger(cells) && cells >= 1 && cells <= MAX_TERMINAL_CELLS;
}

/** What a run adds to its container's environment, but for its marker: `NAME=value`. */
export function variablesOf({ env, terminal }: RunSpec): string[] {
  const own = terminal ? { TERM: "xterm-256color", ...env } : env;
  return Object.entries(own).map(([name, value]) => `${name}=${value}`);
}
