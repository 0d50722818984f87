import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, readdir, readFile, readlink, symlink, unlink, writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { basename, dirname, join, posix } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type {
  Container,
  Entry,
  EntryKind,
  Run,
  RunExit,
  RunSpec,
  TreeEntry,
  TreeLimits,
} from "../../src/container/container.ts";
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
    importTree: async (directory, entries, signal) => {
      paths.push(directory);
      await mkdir(directory, { recursive: true });
      for await (const entry of entries) {
        signal.throwIfAborted();
        const path = join(directory, entry.name);
        if (entry.kind === "directory") await mkdir(path, { recursive: true });
        if (entry.kind === "link" || entry.kind === "file") await unlink(path).catch(ifMissing);
        if (entry.kind === "link") await symlink(entry.target, path);
        if (entry.kind !== "file") continue;
        const mode = entry.executable ? 0o755 : 0o644;
        await writeFile(path, await buffer(Readable.from(entry.content)), { mode });
      }
    },
    exportTree: async function* (path, limits, signal) {
      paths.push(path);
      yield* treeOf(path, "", limits, signal);
    },
    [Symbol.asyncDispose]: async () => {
      for (const group of groups) signalGroup(group, "SIGKILL");
    },
  };
}

async function* treeOf(root: string, name: string, limits: TreeLimits, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  signal.throwIfAborted();
  const path = join(root, name);
  const stats = await lstat(path);
  if (stats.isFile()) {
    const content = await readFile(path);
    const executable = (stats.mode & 0o111) !== 0;
    yield { kind: "file", name, executable, sizeBytes: content.length, content: [content] };
  } else if (stats.isDirectory()) {
    yield { kind: "directory", name };
    if (limits.prune.includes(basename(name))) return;
    for (const it of (await readdir(path)).toSorted()) yield* treeOf(root, posix.join(name, it), limits, signal);
  } else if (stats.isSymbolicLink()) yield { kind: "link", name, target: await readlink(path) };
  else yield { kind: "other", name };
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
