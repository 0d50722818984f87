import { spawn } from "node:child_process";
import { type FileHandle, rm } from "node:fs/promises";
import { GatewayError } from "../errors.ts";
import { endGroup } from "../lib/process-group.ts";
import { userName } from "../lib/user.ts";

export type Argv = readonly [program: string, ...args: string[]];

export interface CommandOptions {
  /** Open for appending; takes the command line, and the standard error of the program. */
  readonly log: FileHandle;
  readonly signal: AbortSignal;
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/** How long a program has to end itself before it is killed, in ms. */
const GRACE_MS = 5_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Runs a program, without a shell, in a process group of its own, and answers its standard output. It dies with this process,
 * and the whole group does when `signal` aborts.
 * @throws GatewayError IMAGE_BUILD_FAILED, or the signal's reason
 */
export async function run(argv: Argv, { log, signal, cwd, env }: CommandOptions): Promise<string> {
  signal.throwIfAborted();
  await log.appendFile(`+ ${argv.map((it) => JSON.stringify(it)).join(" ")}\n`);
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...argv], {
    cwd,
    env: { ...process.env, LC_ALL: "C.UTF-8", ...env },
    stdio: ["ignore", "pipe", log.fd],
    detached: true,
  });
  const output: Buffer[] = [];
  let outputBytes = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (outputBytes <= MAX_OUTPUT_BYTES) output.push(chunk);
  });

  const { promise, resolve, reject } = Promise.withResolvers<number | NodeJS.Signals>();
  child.once("error", reject);
  child.once("close", (code, killedBy) => resolve(code ?? killedBy ?? 1));
  let killer: NodeJS.Timeout | undefined;
  const onAbort = () => {
    endGroup(child.pid, "SIGTERM");
    killer = setTimeout(() => endGroup(child.pid), GRACE_MS);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const ending = await promise;
    signal.throwIfAborted();
    if (ending === 0) return Buffer.concat(output).toString("utf8");
    throw new GatewayError("IMAGE_BUILD_FAILED", `\`${programOf(argv)}\` failed (${ending})`);
  } catch (error) {
    if (error instanceof GatewayError || signal.aborted) throw error;
    throw new GatewayError("IMAGE_BUILD_FAILED", `\`${programOf(argv)}\` cannot be run`, { cause: error });
  } finally {
    clearTimeout(killer);
    // What the program started and did not take with it.
    if (signal.aborted) endGroup(child.pid);
    signal.removeEventListener("abort", onAbort);
  }
}

/** @throws GatewayError IMAGE_BUILD_FAILED with the way out, where this user has no subordinate ids */
export async function checkUserNamespaces(options: CommandOptions): Promise<void> {
  try {
    await run(enclosed(["true"], { network: false, mapped: true }), options);
  } catch (cause) {
    options.signal.throwIfAborted();
    const user = userName();
    throw new GatewayError(
      "IMAGE_BUILD_FAILED",
      "an ordinary user builds the image in a user namespace with subordinate ids, which this user cannot make. As root, run" +
        ` \`apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}\`, or build as root`,
      { cause },
    );
  }
}

/** Removes a directory, also where an ordinary user's namespace has left files of its other users in it. */
export async function removeTree({ isRoot, command }: { isRoot: boolean; command: CommandOptions }, path: string) {
  if (isRoot) return rm(path, { recursive: true, force: true });
  await run(enclosed(["rm", "-rf", "--", path], { network: false, mapped: true }), command);
}

/** The program that a wrapper such as `unshare` is there for. */
function programOf(argv: Argv): string {
  const end = argv.indexOf("--");
  return argv[0] === "unshare" ? (argv[end + 1] ?? argv[0]) : argv[0];
}

/**
 * A command line that runs `argv` with mounts and processes of its own: whatever ends it, nothing of it stays mounted or
 * running. `mapped` gives an ordinary user the root of a user namespace with his subordinate ids.
 */
export function enclosed(argv: Argv, { network, mapped }: { network: boolean; mapped: boolean }): Argv {
  return [
    "unshare",
    ...(mapped ? ["--user", "--map-root-user", "--map-auto"] : []),
    ...["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--ipc", "--cgroup"],
    ...(network ? [] : ["--net"]),
    "--",
    ...argv,
  ];
}
