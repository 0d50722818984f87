import type { TreeEntry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import type { Folder, Kind } from "./folder.ts";
import { ignoreLevels } from "./ignore-file.ts";
import type { OpenMount } from "./mounts.ts";
import { type ImportOptions, shown, Walk } from "./walk.ts";

/** What is at a place of a mount, and whether that is a single file. */
export interface Source extends AsyncDisposable {
  readonly single: boolean;
  /** The files, directories and links that may be imported, named from the place on. A single file has its own name. */
  entries(): AsyncGenerator<TreeEntry>;
}

/**
 * Goes to a place name by name, each opened below the directory that is open already: no link is followed, whoever swaps what meanwhile.
 * @throws GatewayError FILE_NOT_FOUND, PATH_IS_LINK, PATH_EXCLUDED, NOT_A_FILE
 */
export async function openSource(mount: OpenMount, names: readonly string[], options: ImportOptions): Promise<Source> {
  const { rules, gitignore } = options;
  await using stack = new AsyncDisposableStack();
  let folder = mount.root;
  let levels = gitignore ? await ignoreLevels(folder, [], []) : [];
  let single: string | undefined;
  for (const [at, name] of names.entries()) {
    const path = names.slice(0, at + 1);
    const kind = await kindThere(folder, name, path);
    const isDirectory = kind === "directory";
    if (kind === "link") throw new GatewayError("PATH_IS_LINK", `\`${shown(path)}\` is a symbolic link in the mount`);
    const refusal = rules.refusal(path, isDirectory, "import");
    if (refusal) throw new GatewayError("PATH_EXCLUDED", `\`${shown(path)}\` is not imported: ${refusal}`);
    if (!isDirectory && (kind === "special" || at < names.length - 1)) {
      throw new GatewayError("NOT_A_FILE", `\`${shown(path)}\` is neither a file nor a directory`);
    }
    if (!isDirectory && !rules.includes(path, false)) {
      throw new GatewayError("PATH_EXCLUDED", `\`${shown(path)}\` is not among what is included`);
    }
    if (!isDirectory) single = name;
    else {
      folder = stack.use(await folder.folder(name));
      if (gitignore) levels = await ignoreLevels(folder, path, levels);
    }
  }
  const place = { folder, names: single === undefined ? names : names.slice(0, -1), levels };
  const walk = new Walk(options, place.names.length);
  const owned = stack.move();
  return {
    single: single !== undefined,
    entries: () => (single === undefined ? walk.directory(place) : walk.files(place, [single])),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function kindThere(folder: Folder, name: string, path: readonly string[]): Promise<Kind> {
  try {
    const stats = await folder.stat(name);
    if (stats.isDirectory()) return "directory";
    return stats.isFile() ? "file" : stats.isSymbolicLink() ? "link" : "special";
  } catch (error) {
    if (!/^(ENOENT|ENOTDIR|ENAMETOOLONG)$/.test(codeOf(error) ?? "")) throw error;
    throw new GatewayError("FILE_NOT_FOUND", `\`${shown(path)}\`: there is nothing in the mount`);
  }
}
