import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { GatewayError } from "./errors.ts";
import { type SettingsPlaces, SYSTEM_DIRECTORY } from "./settings.ts";
import { userFilePlace } from "./settings-user.ts";

/** Options of the command line. */
export interface SettingsOptions {
  /** The user's `glovebox.yaml`. */
  readonly config?: string;
  /** The user's bundle. */
  readonly policy?: string;
}

/**
 * Where this process looks for its settings. Options come before `GLOVEBOX_CONFIG` and `GLOVEBOX_POLICY`; neither reaches the system's.
 * @throws GatewayError CONFIG_INVALID
 */
export function settingsPlaces(
  { config, policy }: SettingsOptions,
  env: NodeJS.ProcessEnv,
  packageRoot: string,
): SettingsPlaces {
  const named = policy ?? env["GLOVEBOX_POLICY"];
  const statedIn = policy === undefined ? "GLOVEBOX_POLICY" : "--policy";
  if (named === "") throw new GatewayError("CONFIG_INVALID", `${statedIn} is empty: name a folder, or leave it out`);
  return {
    systemDirectory: SYSTEM_DIRECTORY,
    user: userFilePlace(config, env, homedir()),
    ...(named !== undefined && { policy: { directory: resolve(named), statedIn } }),
    defaultPolicy: join(packageRoot, "policies", "default"),
  };
}
