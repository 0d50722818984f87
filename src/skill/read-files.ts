import { constants, type Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import { Folder, type Kind } from "../mounts/folder.ts";
import type { Problem } from "../policy/bundle.ts";
import { digestOf as digestOfTexts } from "../policy/read-files.ts";
import type { SkillFile } from "./skill.ts";

export const MAX_FILES = 64;
export const MAX_FILE_BYTES = 1_048_576;
export const MAX_SKILL_BYTES = 4_194_304;
/** Names in a path: `scripts/a/b/c.py`. */
export const MAX_DEPTH = 4;
const MAX_FOLDERS = 64;

/** What Python and macOS leave where somebody tried a script or looked: no part of a skill, so neither read nor put into a sandbox. */
const LEFT_BEHIND: ReadonlySet<string> = new Set(["__pycache__", ".DS_Store"]);

/** Safe in any path, and no option of a program that is given it. */
const NAME = /^[A-Za-z0-9._][A-Za-z0-9._-]{0,127}$/;

/** By path relative to the skill's folder, `/`-separated, sorted. */
export type SkillFiles = ReadonlyMap<string, SkillFile>;

/**
 * Reads all that a skill's folder holds. What was examined is what is read: the folder, those within it and each file are opened once, no link is
 * followed, and nothing is taken for what its name led to a moment before. The way to the folder may lead over links; the folder itself is none.
 */
export async function readSkillFiles(
  directory: string,
): Promise<{ readonly files: SkillFiles } | { readonly problems: readonly Problem[] }> {
  const path = resolve(directory);
  try {
    await using parent = await Folder.open(dirname(path));
    await using folder = await parent.folder(basename(path));
    const { files, problems } = await gather(folder);
    if (problems.length > 0) return { problems };
    return { files: new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) };
  } catch (error) {
    return { problems: [{ file: ".", ...unreadable(error) }] };
  }
}

/** SHA-256 over paths, executable bits, sizes and contents, in the order of paths. */
export function digestOf(files: SkillFiles): string {
  const sorted = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1));
  // No path holds a NUL.
  return digestOfTexts(new Map(sorted.map(([path, it]) => [`${path}\0${it.executable ? "x" : "-"}`, it.content])));
}

type Trouble = Omit<Problem, "file">;

interface Entry {
  readonly path: string;
  readonly folder: Folder;
  readonly name: string;
  readonly kind: Kind;
  readonly trouble?: Trouble;
}

async function gather(root: Folder): Promise<{ files: Map<string, SkillFile>; problems: Problem[] }> {
  const files = new Map<string, SkillFile>();
  const problems: Problem[] = [];
  const whole = (message: string, fix: string) => problems.push({ file: ".", message, fix });
  let [folders, others, bytes] = [0, 0, 0];
  for await (const { path, folder, name, kind, trouble } of walk(root, [])) {
    if (kind === "directory") folders += 1;
    else others += 1;
    if (others > MAX_FILES || folders > MAX_FOLDERS) {
      whole(`has more than ${MAX_FILES} files or ${MAX_FOLDERS} folders`, "leave out what it does not need");
      break;
    }
    const read = trouble ?? (kind === "directory" ? undefined : await readOne(folder, name));
    if (read === undefined) continue;
    if ("message" in read) {
      problems.push({ file: printable(path, 200), ...read });
      continue;
    }
    files.set(path, read);
    bytes += read.content.length;
    if (bytes > MAX_SKILL_BYTES) {
      whole(`has more than ${MAX_SKILL_BYTES} bytes in all`, "leave out what it does not need");
      break;
    }
  }
  return { files, problems };
}

/** Everything below a folder, in the order of names; what is in trouble is not entered. */
async function* walk(folder: Folder, above: readonly string[]): AsyncGenerator<Entry> {
  const here = above.join("/") || ".";
  const open = openToAll(here, await folder.self());
  if (open) yield { path: here, folder, name: ".", kind: "directory", trouble: open };
  const spellings = new Map<string, string>();
  for (const { name, kind } of await folder.entries()) {
    if (LEFT_BEHIND.has(name)) continue;
    const names = [...above, name];
    const entry = { path: names.join("/"), folder, name, kind };
    const twin = spellings.get(name.toLowerCase());
    spellings.set(name.toLowerCase(), name);
    const trouble = misnamed(names, twin) ?? (kind === "directory" || kind === "file" ? undefined : NOT_A_FILE);
    yield trouble ? { ...entry, trouble } : entry;
    if (trouble || kind !== "directory") continue;
    await using below = await folder.folder(name);
    yield* walk(below, names);
  }
}

function misnamed(names: readonly string[], twin: string | undefined): Trouble | undefined {
  if (!NAME.test(names.at(-1) ?? "")) {
    return { message: "has a name of other characters than a-z, A-Z, 0-9, `.`, `_` and `-`", fix: "rename it" };
  }
  if (twin !== undefined) {
    return { message: `differs from \`${twin}\` in upper and lower case alone`, fix: "rename one of them" };
  }
  if (names.length > MAX_DEPTH) return { message: `lies deeper than ${MAX_DEPTH} names`, fix: "move it up" };
  return undefined;
}

const NOT_A_FILE: Trouble = { message: "is not a regular file", fix: "put files and folders into a skill, no links" };

async function readOne(folder: Folder, name: string): Promise<SkillFile | Trouble> {
  const opened = await folder.file(name).catch(unreadable);
  if (typeof opened === "string") return NOT_A_FILE;
  if ("message" in opened) return opened;
  await using handle = opened.handle;
  const { stats } = opened;
  if (stats.size > MAX_FILE_BYTES) {
    return { message: `is larger than ${MAX_FILE_BYTES} bytes`, fix: "make it smaller, or leave it out" };
  }
  const open = openToAll(name, stats);
  if (open) return open;
  const content = await readExactly(handle, stats.size);
  if (!content) return { message: "changed while it was read", fix: "try again when nothing writes to it" };
  return { content, executable: (stats.mode & 0o111) !== 0 };
}

/** Undefined when there is less or more of it: a file may grow without end. */
async function readExactly(handle: FileHandle, bytes: number): Promise<Buffer | undefined> {
  const content = Buffer.alloc(bytes + 1);
  let filled = 0;
  for (let more = true; more && filled < content.length; ) {
    const { bytesRead } = await handle.read(content, filled, content.length - filled, filled);
    filled += bytesRead;
    more = bytesRead > 0;
  }
  return filled === bytes ? content.subarray(0, bytes) : undefined;
}

function openToAll(name: string, { mode }: Stats): Trouble | undefined {
  if ((mode & constants.S_IWOTH) === 0) return undefined;
  return { message: "anybody may write it", fix: `chmod o-w ${name}` };
}

/** @throws what is no error of the system's, and not the folder's doing */
function unreadable(error: unknown): Trouble {
  const code = error instanceof GatewayError ? error.code : codeOf(error);
  switch (code) {
    case undefined:
      throw error;
    case "ENOENT":
      return { message: "there is no such file or folder", fix: "correct the path" };
    case "ELOOP":
    case "ENOTDIR":
      return { message: "is a link, or no folder", fix: "name the folder itself" };
    case "FILE_CHANGED":
      return { message: "was moved or replaced while it was read", fix: "try again when nothing writes to it" };
    default:
      return { message: `cannot be read (${code})`, fix: "make it readable for the gateway" };
  }
}
