import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { promisify } from "node:util";
import type { Host } from "./command-line.ts";

const run = promisify(execFile);

/** How much of the host a QEMU process is cut off from, strongest first. */
export const CONFINEMENTS = ["user-and-network", "user", "network", "parent", "none"] as const;
export type Confinement = (typeof CONFINEMENTS)[number];

/** Far above what distributions, directories and container runtimes hand out. */
const FIRST_USER = 2_000_000_000;
const USERS = 147_000_000;

/**
 * The words to put before QEMU's own command line; each program replaces itself by the next, so the process id stays.
 * With root's means every machine gets a user of its own, an empty network namespace, and no capability; without them, an
 * empty network namespace where the kernel permits one. All but "none" tie the process's life to its parent's.
 */
export function confine(level: Confinement, asRoot: boolean, groups: readonly number[]): string[] {
  if (level === "none") return [];
  const setpriv = ["setpriv", "--pdeathsig", "KILL", "--no-new-privs"];
  const emptyNetwork = ["unshare", ...(asRoot ? [] : ["--user", "--map-current-user"]), "--net", "--"];
  if (level === "parent") return [...setpriv, "--"];
  if (level === "network") return [...emptyNetwork, ...setpriv, "--"];
  const user = String(FIRST_USER + randomInt(USERS));
  return [
    ...(level === "user-and-network" ? emptyNetwork : []),
    ...setpriv,
    ...["--reuid", user, "--regid", user],
    ...(groups.length > 0 ? ["--groups", groups.join(",")] : ["--clear-groups"]),
    ...["--inh-caps=-all", "--bounding-set=-all", "--"],
  ];
}

/** The strongest confinement that works here, found by running `true` in it. */
export async function strongestConfinement(host: Host, asRoot: boolean, signal: AbortSignal): Promise<Confinement> {
  if (host.platform !== "linux") return "none";
  for (const level of CONFINEMENTS) {
    if (!asRoot && level.startsWith("user")) continue;
    if (level === "none" || (await works(confine(level, asRoot, []), signal))) return level;
  }
  return "none";
}

async function works([program = "true", ...rest]: string[], signal: AbortSignal): Promise<boolean> {
  try {
    await run(program, [...rest, "true"], { signal, timeout: 5_000, killSignal: "SIGKILL" });
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

/** What an operator should know, or nothing. */
export function confinementWarning(level: Confinement, host: Host, asRoot: boolean): string | undefined {
  if (host.platform !== "linux") return undefined;
  if (asRoot && !level.startsWith("user")) return "QEMU runs as root: no other user can be assumed here.";
  if (level === "none") return "QEMU runs unconfined: `setpriv` (util-linux) is not usable here.";
  return undefined;
}
