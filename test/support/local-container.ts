import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, readFile, readlink, unlink, writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { dirname } from "node:path";
import type { Container, Entry, EntryKind, Run, RunExit, RunSpec } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";

/** Programs of this machine and files below a test's own directory, as a `Container`: no isolation at all, tests only. */
export interface LocalContainer extends Container {
  /** What was asked of it, in order. */
  readonly runs: RunSpec[];
  readonly paths: string[];
}

export function localContainer(): LocalContainer {
  const runs: RunSpec[] = [];
  const paths: string[] = [];
  const groups = new Set<number>();
  return {
    id: "local",
    runs,
    paths,
    run: async (spec, signal) => {
      runs.push(spec);
      signal.throwIfAborted();
      const run = await startLocally(spec);
      groups.add(run.pid);
      void run.exit.then(() => groups.delete(run.pid));
      return run;
    },
    stat: async (path) => {
      paths.push(path);
      return entryOf(path);
    },
    readFile: async (path, maxBytes) => {
      paths.push(path);
      const entry = await entryOf(path);
      if (entry.kind !== "file") throw new GatewayError("NOT_A_FILE");
      if (entry.sizeBytes > maxBytes) throw new GatewayError("FILE_TOO_LARGE");
      return readFile(path);
    },
    writeFile: async (path, content, { mode, createParents }) => {
      paths.push(path);
      if (createParents) await mkdir(dirname(path), { recursive: true });
      await unlink(path).catch(ifMissing);
      await writeFile(path, content, { mode });
    },
    [Symbol.asyncDispose]: async () => {
      for (const group of groups) signalGroup(group, "SIGKILL");
    },
  };
}

async function startLocally(spec: RunSpec): Promise<Run & { readonly pid: number }> {
  if (spec.terminal) throw new GatewayError("CONTAINER_FAILED", "there are no terminals here");
  const [file, ...args] = spec.argv;
  const child = spawn(file, args, {
    cwd: spec.cwd,
    env: { PATH: process.env["PATH"], ...spec.env },
    detached: true,
    stdio: [spec.stdin ? "pipe" : "ignore", "pipe", "pipe"],
  });
  const exit = new Promise<RunExit>((resolve) => {
    child.on("close", (code, signal) => {
      if (signal) resolve({ by: "signal", exitCode: 128 + constants.signals[signal], signal });
      else resolve({ by: "exit", exitCode: code ?? 0 });
    });
  });
  await once(child, "spawn").catch((error: unknown) => {
    throw new GatewayError("PROGRAM_NOT_FOUND", `\`${file}\` was not found`, { cause: error });
  });
  const pid = child.pid ?? Number.NaN;
  const streams = child.stdin ? { stdin: child.stdin } : {};
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new Error("no output streams");
  let over = false;
  void exit.then(() => {
    over = true;
  });
  // Later the number may be another's.
  const signal: Run["signal"] = async (name) => {
    if (!over) signalGroup(pid, name);
  };
  return { pid, stdout, stderr, ...streams, exit, signal };
}

function signalGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

async function entryOf(path: string): Promise<Entry> {
  const stats = await lstat(path).catch((error: unknown) => {
    throw new GatewayError("FILE_NOT_FOUND", `there is nothing at \`${path}\``, { cause: error });
  });
  if (stats.isSymbolicLink())
    throw new GatewayError("PATH_IS_LINK", `\`${path}\` is a link to ${await readlink(path)}`);
  const kind: EntryKind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
  return { path, kind, sizeBytes: stats.size, mode: stats.mode & 0o7777, modifiedMs: stats.mtimeMs };
}

function ifMissing(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
}
