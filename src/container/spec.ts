import { GatewayError } from "../errors.ts";
import type { RunSpec } from "./container.ts";

/** What Linux's execve takes: one argument or variable, and all with a pointer each (2 MiB, less what the engine adds). */
const MAX_TEXT_BYTES = 131_071;
const MAX_TEXTS_BYTES = 1_966_080;

/**
 * Arguments travel as JSON in UTF-8: a lone surrogate or a NUL would make the program get something else than policy saw.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function checkSpec({ run, argv, cwd, env }: RunSpec): void {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const texts = [run, cwd, ...argv, ...variables];
  if (!texts.every((it) => it.isWellFormed() && !it.includes("\0"))) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      "arguments, environment and directory hold no NUL and are valid Unicode",
    );
  }
  if (!Object.keys(env).every((name) => name !== "" && !name.includes("="))) {
    throw new GatewayError("INVALID_ARGUMENTS", "a variable's name is not empty and holds no `=`");
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
