import { realpath } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, sep } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing } from "../lib/error.ts";
import { fromHome } from "../lib/home.ts";
import type { Mount } from "../policy/mount.ts";
import { Folder } from "./folder.ts";

/** The folders of the host that a profile lets calls copy from and to. */
export interface Mounts {
  /** @throws GatewayError MOUNT_NOT_FOUND, MOUNT_READ_ONLY when it is to be written and may not, MOUNT_UNUSABLE */
  open(name: string, mode: Mount["mode"]): Promise<OpenMount>;
}

export interface OpenMount extends AsyncDisposable {
  readonly mount: Mount;
  readonly root: Folder;
}

/** `ours` are folders and files of Glovebox's own: a mount neither holds one nor lies in one. */
export function createMounts(mounts: readonly Mount[], ours: readonly string[]): Mounts {
  return {
    async open(name, mode) {
      const mount = mounts.find((it) => it.name === name);
      if (!mount) {
        const names = mounts.map((it) => it.name).join(", ") || "it has none";
        throw new GatewayError("MOUNT_NOT_FOUND", `there is no mount \`${name}\` in the profile; mounts: ${names}`);
      }
      if (mode === "rw" && mount.mode !== "rw") {
        throw new GatewayError("MOUNT_READ_ONLY", `the mount \`${name}\` is for import only`);
      }
      const root = await opened(mount, ours);
      return { mount, root, [Symbol.asyncDispose]: () => root[Symbol.asyncDispose]() };
    },
  };
}

/** No path of the host is named: the message is for the model. */
async function opened({ name, host, within = [] }: Mount, ours: readonly string[]): Promise<Folder> {
  const unusable = (why: string, cause?: unknown) =>
    new GatewayError("MOUNT_UNUSABLE", `the folder of the mount \`${name}\` ${why}`, { cause });
  try {
    const path = await realHost(host);
    for (const it of within) {
      // A repository can hold a link that leads out of what the outer layer hands over.
      if (!holds(await realHost(it), path)) throw unusable("lies outside of what another layer of policy hands over");
    }
    if (holds(path, homedir())) throw unusable("holds a home directory");
    for (const it of ours) {
      // A link can be exchanged where it lies, and what it leads to there.
      const places = [await realPlace(it), join(await realPlace(dirname(it)), basename(it))];
      if (places.some((own) => holds(path, own) || holds(own, path))) {
        throw unusable("holds a folder of Glovebox's own, or lies in one");
      }
    }
    return await Folder.open(path);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const code = codeOf(error);
    if (isMissing(error)) throw unusable("does not exist", error);
    if (code === "ENOTDIR") throw unusable("is not a directory", error);
    throw unusable(`cannot be opened (${code ?? "unknown error"})`, error);
  }
}

/** With `~/` and links followed. */
async function realHost(host: string): Promise<string> {
  return await realpath(fromHome(host));
}

/** Where a folder is, or would be: most computers have no folder of an organisation's, and one that a bundle was read from may be gone. */
async function realPlace(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) throw error;
    return join(await realPlace(dirname(path)), basename(path));
  }
}

function holds(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer === sep ? sep : outer + sep);
}
