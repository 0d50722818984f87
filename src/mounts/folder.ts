import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";

const { O_RDONLY, O_DIRECTORY, O_NONBLOCK, O_NOCTTY } = constants;
/** On macOS no link anywhere in the path is followed (O_NOFOLLOW_ANY, which Node has no name for). */
const O_NOFOLLOW = constants.O_NOFOLLOW | (process.platform === "darwin" ? 0x2000_0000 : 0);

export type Kind = "file" | "directory" | "link" | "special";

/**
 * A directory of the host that is held open. What is done in it is done in that very directory, whatever its path leads to by now. Node
 * has no `openat`; on Linux `/proc/self/fd/<fd>/<name>` is one. Elsewhere the path is used, and must lead to the same directory before and
 * after, without links; a listing or a change of names between two swaps goes unnoticed there.
 */
export class Folder implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #byDescriptor: boolean;

  private constructor(handle: FileHandle, path: string, byDescriptor: boolean) {
    this.#handle = handle;
    this.#path = path;
    this.#byDescriptor = byDescriptor;
  }

  /** Links in the path are followed: it is the profile's. */
  static async open(path: string, byDescriptor = process.platform === "linux"): Promise<Folder> {
    const real = await realpath(path);
    const folder = new Folder(await open(real, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), real, byDescriptor);
    try {
      await folder.within(".", (it) => stat(it));
      return folder;
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Does something with a name of this directory; `act` must not follow a link that the name may be. */
  async within<T>(name: string, act: (path: string) => Promise<T>): Promise<T> {
    if (name === "" || name === ".." || name.includes("/") || name.includes("\0")) {
      throw new GatewayError("INTERNAL", "not the name of something in a directory");
    }
    if (this.#byDescriptor) return await act(`/proc/self/fd/${this.#handle.fd}/${name}`);
    await this.#checkPath();
    const result = await act(join(this.#path, name));
    await this.#checkPath();
    return result;
  }

  async #checkPath(): Promise<void> {
    const [real, there, held] = await Promise.all([realpath(this.#path), lstat(this.#path), this.#handle.stat()]);
    if (real === this.#path && there.ino === held.ino && there.dev === held.dev) return;
    throw new GatewayError("FILE_CHANGED", "a directory of the mount was moved or replaced meanwhile");
  }

  /** @throws ENOENT, ENOTDIR, also for a link to a directory, and other errors of the system */
  async folder(name: string): Promise<Folder> {
    const handle = await this.within(name, (path) => open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return new Folder(handle, join(this.#path, name), this.#byDescriptor);
  }

  /** A regular file, open for reading, or what it is instead. Nothing else is waited for. */
  async file(name: string): Promise<{ readonly handle: FileHandle; readonly stats: Stats } | Exclude<Kind, "file">> {
    // Opening a device can do something; what is a file now and no more when it is opened shows below.
    const before = kindOf(await this.stat(name));
    if (before !== "file") return before;
    const handle = await this.within(name, (path) => open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    try {
      const stats = await handle.stat();
      if (stats.isFile()) return { handle, stats };
      await handle.close();
      return "special";
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Of a name itself, be it a link. */
  async stat(name: string): Promise<Stats> {
    return await this.within(name, (path) => lstat(path));
  }

  async link(name: string): Promise<string> {
    return await this.within(name, (path) => readlink(path));
  }

  /** Names in order, with what they seem to be. */
  async entries(): Promise<{ readonly name: string; readonly kind: Kind }[]> {
    const entries = await this.within(".", (path) => readdir(path, { withFileTypes: true }));
    return entries.map((it) => ({ name: it.name, kind: kindOf(it) })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What the directory itself is. */
  async self(): Promise<Stats> {
    return await this.#handle.stat();
  }

  async giveTo({ uid, gid }: Owner): Promise<void> {
    await this.#handle.chown(uid, gid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

export type Owner = Pick<Stats, "uid" | "gid">;

/** Whom to give what is made below a mount's root: what root exports belongs to whom the root belongs to. */
export async function newOwner(root: Folder): Promise<Owner | undefined> {
  return process.getuid?.() === 0 ? await root.self() : undefined;
}

type Typed = Pick<Stats, "isFile" | "isDirectory" | "isSymbolicLink">;

function kindOf(it: Typed): Kind {
  if (it.isFile()) return "file";
  if (it.isDirectory()) return "directory";
  return it.isSymbolicLink() ? "link" : "special";
}
