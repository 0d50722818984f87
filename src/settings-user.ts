import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { GatewayError } from "./errors.ts";
import { isMissing, messageOf } from "./lib/error.ts";
import { printable } from "./lib/text.ts";
import { xdgDirectory } from "./lib/xdg.ts";

const MAX_BYTES = 1_048_576;

export interface UserFilePlace {
  readonly file: string;
  /** Somebody has named it: it has to be there. */
  readonly required: boolean;
  /** What `~/` means in it. */
  readonly home: string;
}

/** `--config`, then `GLOVEBOX_CONFIG`, then `glovebox/glovebox.yaml` in the XDG configuration directory. */
export function userFilePlace(config: string | undefined, env: NodeJS.ProcessEnv, home: string): UserFilePlace {
  const named = config ?? env["GLOVEBOX_CONFIG"];
  if (named !== undefined) return { file: resolve(named), required: true, home };
  const directory = xdgDirectory(env["XDG_CONFIG_HOME"], home, ".config");
  return { file: join(directory, "glovebox", "glovebox.yaml"), required: false, home };
}

/** `undefined` when there is none, and none was named. @throws GatewayError CONFIG_INVALID */
export async function readUserFile({ file, required }: UserFilePlace) {
  const refuse = (what: string, cause?: unknown) =>
    new GatewayError("CONFIG_INVALID", `\`${printable(file)}\` ${what}`, { cause });
  try {
    await using opened = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await opened.stat();
    if (!stats.isFile()) throw refuse("is not a regular file");
    if ((stats.mode & constants.S_IWOTH) !== 0) throw refuse(`may be written by anybody: chmod o-w ${printable(file)}`);
    if (stats.size > MAX_BYTES) throw refuse(`is larger than ${MAX_BYTES} bytes`);
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await opened.readFile());
    return { file, directory: dirname(file), text };
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    if (error instanceof TypeError) throw refuse("is not valid UTF-8", error);
    if (isMissing(error) && !required) return undefined;
    throw refuse(`cannot be read: ${messageOf(error)}`, error);
  }
}
