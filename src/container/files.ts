import { posix } from "node:path";
import { GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import type { ContainerApi } from "./api.ts";
import { archiveOf, fileInArchive, readStat, tooLarge } from "./archive.ts";
import type { Container, Entry, WriteOptions } from "./container.ts";
import { containerFailure } from "./failure.ts";
import { AGENT_ID, WRITABLE_DIRECTORIES } from "./hardening.ts";
import { EngineRefusal } from "./modem.ts";
import { isKernelPath, stepsOf } from "./paths.ts";
import { isLink, kindName, notFound, notWritable, unseen } from "./refusals.ts";

const TIMEOUT_MS = 120_000;
/** Questions about a path's parts that are put to the engine at once. */
const PARALLEL = 8;
const NEW_DIRECTORY_MODE = 0o755;

/**
 * File transfer through the engine's archive calls, which need no program of the image and work when the sandbox is out of
 * processes or memory. They act as root, so modes don't keep them from reading, and what is written belongs to the agent.
 *
 * The engine follows links in a path's directories. So each is looked at first, and a link refused. A program of the agent
 * that swaps a directory for a link in between can have another file *of its own sandbox* read or written than policy saw;
 * it can do the same to itself with `exec`, and the container and machine confine it either way.
 */
export function containerFiles(
  api: ContainerApi,
  broken: AbortSignal,
): Pick<Container, "stat" | "readFile" | "writeFile"> {
  const guarded = async <T>(signal: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      signal.throwIfAborted();
      return await act(deadline(TIMEOUT_MS, AbortSignal.any([signal, broken])));
    } catch (error) {
      throw await containerFailure(error, broken, signal);
    }
  };
  return {
    stat: (path, signal) => guarded(signal, (it) => stat(api, path, it)),
    readFile: (path, maxBytes, signal) => guarded(signal, (it) => readFile(api, path, maxBytes, it)),
    writeFile: (path, content, options, signal) =>
      guarded(signal, (it) => writeFile(api, { path, content, options }, it)),
  };
}

/** Makes the writable directories the agent's, also where the image had none. */
export async function settleDirectories(api: ContainerApi, signal: AbortSignal): Promise<void> {
  const settled = WRITABLE_DIRECTORIES.map(({ path, mode, owner }) =>
    api.putArchive(path, archiveOf([{ name: "./", mode, owner }]), signal),
  );
  await Promise.all(settled);
}

async function stat(api: ContainerApi, path: string, signal: AbortSignal): Promise<Entry> {
  if (isKernelPath(path)) throw unseen(path);
  const { entry, missing } = await lookUp(api, path, signal);
  if (!entry) throw notFound(missing ?? path);
  return entry;
}

async function readFile(api: ContainerApi, path: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  if (isKernelPath(path))
    throw new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is made up by the kernel; use \`exec\``);
  const entry = await stat(api, path, signal);
  if (entry.kind === "link") throw isLink(path, entry.target ?? "", "");
  if (entry.kind !== "file")
    throw new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is a ${kindName(entry.kind)}`);
  if (entry.sizeBytes > maxBytes) throw tooLarge(entry.sizeBytes, maxBytes);
  return await fileInArchive(await api.getArchive(path, signal), posix.basename(path), maxBytes);
}

interface Write {
  readonly path: string;
  readonly content: Buffer;
  readonly options: WriteOptions;
}

async function writeFile(api: ContainerApi, { path, content, options }: Write, signal: AbortSignal): Promise<void> {
  if (isKernelPath(path)) throw notWritable(path);
  const { entry, missing, parent } = await lookUp(api, path, signal);
  if (entry?.kind === "link") throw isLink(path, entry.target ?? "", "");
  if (entry && entry.kind !== "file")
    throw new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is a ${kindName(entry.kind)}`);
  if (missing !== undefined && missing !== path && !options.createParents) throw notFound(posix.dirname(path));
  const names = posix.relative(parent, path).split("/");
  const directories = names.slice(0, -1).map((_name, index) => names.slice(0, index + 1).join("/"));
  const archive = archiveOf([
    ...directories.map((name) => ({ name: `${name}/`, mode: NEW_DIRECTORY_MODE, owner: AGENT_ID })),
    { name: names.join("/"), mode: options.mode & 0o777, owner: AGENT_ID, content },
  ]);
  try {
    await api.putArchive(parent, archive, signal);
  } catch (error) {
    if (error instanceof EngineRefusal && /marked read-only/i.test(error.message)) throw notWritable(path);
    throw error;
  }
}

export interface Found {
  /** What is at the path itself; a link is not followed. */
  readonly entry?: Entry;
  /** The outermost part that does not exist. */
  readonly missing?: string;
  /** The innermost existing directory above the path. */
  readonly parent: string;
}

/** Looks at every part of the path. @throws GatewayError PATH_IS_LINK, NOT_A_DIRECTORY, INVALID_ARGUMENTS */
export async function lookUp(api: ContainerApi, path: string, signal: AbortSignal): Promise<Found> {
  const steps = stepsOf(path);
  let parent = "/";
  for (let first = 0; first < steps.length; first += PARALLEL) {
    const batch = steps.slice(first, first + PARALLEL);
    const looks = await Promise.allSettled(batch.map((step) => statOf(api, step, signal)));
    for (const [index, step] of batch.entries()) {
      const look = looks[index];
      // A failure counts only when everything above it is a directory: below a file the engine fails in many ways.
      if (look?.status !== "fulfilled") throw look?.reason;
      const entry = look.value;
      if (!entry) return { missing: step, parent };
      if (step === path) return { entry, parent };
      if (entry.kind === "link") throw isLink(step, entry.target ?? "", path.slice(step.length));
      if (entry.kind !== "directory") {
        throw new GatewayError(
          "NOT_A_DIRECTORY",
          `\`${printable(step)}\` is a ${kindName(entry.kind)}, not a directory`,
        );
      }
      parent = step;
    }
  }
  return { missing: path, parent };
}

async function statOf(api: ContainerApi, path: string, signal: AbortSignal): Promise<Entry | undefined> {
  try {
    return readStat(path, await api.statHeader(path, signal));
  } catch (error) {
    if (!(error instanceof EngineRefusal)) throw error;
    if (error.status === 404) return undefined;
    if (!/too many links/i.test(error.message)) throw error;
    throw new GatewayError("PATH_IS_LINK", `\`${printable(path)}\` is a symbolic link that leads in a circle`);
  }
}
