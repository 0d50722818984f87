import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { GatewayError } from "../../errors.ts";
import { codeOf } from "../../lib/error.ts";
import { nameArgument } from "./command-line.ts";

const run = promisify(execFile);

export interface MachineProcess {
  readonly pid: number;
  /** As the system reports it: with the pid it names one process for good. */
  readonly startTime: string;
}

/** How long a killed process may take to be gone. */
const END_MS = 5_000;

/** The process whose machine lives in `directory`, found by its exact command-line argument and never by a name. */
export async function readMachineProcess(directory: string): Promise<MachineProcess | undefined> {
  return process.platform === "linux" ? await findInProc(directory) : await findWithPs(directory);
}

/**
 * Kills the process, if any, whose machine lives in `directory`, waits until it is gone, and answers its pid.
 * @throws GatewayError INTERNAL when it does not go
 */
export async function endMachineProcess(directory: string): Promise<number | undefined> {
  const found = await readMachineProcess(directory);
  if (!found) return undefined;
  const until = performance.now() + END_MS;
  for (let now: MachineProcess | undefined = found; now; now = await readMachineProcess(directory)) {
    if (performance.now() > until)
      throw new GatewayError("INTERNAL", `The left-over machine process ${now.pid} does not end.`);
    kill(now.pid);
    await sleep(10);
  }
  return found.pid;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

async function findInProc(directory: string): Promise<MachineProcess | undefined> {
  const argument = nameArgument(directory);
  for (const name of await readdir("/proc")) {
    if (!/^[1-9]\d*$/.test(name)) continue;
    const commandLine = await readOrNothing(`/proc/${name}/cmdline`);
    if (!commandLine.split("\0").includes(argument)) continue;
    const startTime = startTimeOf(await readOrNothing(`/proc/${name}/stat`));
    if (startTime) return { pid: Number(name), startTime };
  }
  return undefined;
}

/** Field 22 of /proc/<pid>/stat, counted behind the name in parentheses, which may hold anything. */
export function startTimeOf(stat: string): string | undefined {
  const fields = stat
    .slice(stat.lastIndexOf(")") + 1)
    .trim()
    .split(/\s+/);
  return fields[19];
}

/** A process may end between two looks at it. */
async function readOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}

async function findWithPs(directory: string): Promise<MachineProcess | undefined> {
  // `lstart` is five words: day, month, date, time, year.
  const { stdout } = await run("ps", ["-axww", "-o", "pid=,lstart=,command="], { maxBuffer: 64 * 1024 * 1024 });
  return findInPs(stdout, directory);
}

export function findInPs(output: string, directory: string): MachineProcess | undefined {
  for (const line of output.split("\n")) {
    const [, pid, startTime, command] = /^\s*(\d+)\s+((?:\S+\s+){4}\d{4})\s+(.*)$/.exec(line) ?? [];
    if (pid && startTime && `${command} `.includes(` ${nameArgument(directory)} `))
      return { pid: Number(pid), startTime };
  }
  return undefined;
}
