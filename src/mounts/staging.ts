import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { chmod, mkdir, open, rmdir, unlink } from "node:fs/promises";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { TreeFile } from "../container/container.ts";
import { isMissing } from "../lib/error.ts";
import { type Folder, newOwner, type Owner } from "./folder.ts";
import { DRAFT_PREFIX } from "./rules.ts";

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;

/** A file up to this size is also handed out. */
export const KEPT_BYTES = 262_144;

export interface Taken {
  readonly sha256: string;
  /** When it is small. */
  readonly content?: Buffer;
}

/**
 * A directory of the mount's own, for the gateway's user alone, that holds what an export brings until all of it is there: then it takes
 * its places by names alone. Disposal removes it, with what is left in it.
 */
export class Staging implements AsyncDisposable {
  readonly folder: Folder;
  readonly #root: Folder;
  readonly #name: string;
  readonly #owner: Owner | undefined;
  readonly #left = new Set<string>();
  #made = 0;

  private constructor(root: Folder, name: string, folder: Folder, owner: Owner | undefined) {
    this.#root = root;
    this.#name = name;
    this.folder = folder;
    this.#owner = owner;
  }

  static async create(root: Folder): Promise<Staging> {
    const name = `${DRAFT_PREFIX}${randomBytes(8).toString("hex")}`;
    await root.within(name, (path) => mkdir(path, { mode: 0o700 }));
    try {
      return new Staging(root, name, await root.folder(name), await newOwner(root));
    } catch (error) {
      await root.within(name, (path) => rmdir(path));
      throw error;
    }
  }

  /** Takes a file in, with mode 644 or 755; answers the name that it has here. */
  async put(file: TreeFile): Promise<Taken & { readonly name: string }> {
    this.#made += 1;
    const name = String(this.#made);
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    await using handle = await this.folder.within(name, (path) => open(path, flags, 0o600));
    this.#left.add(name);
    const taken = await take(file, (piece) => handle.writeFile(piece));
    if (this.#owner) await handle.chown(this.#owner.uid, this.#owner.gid);
    await handle.chmod(file.executable ? 0o755 : 0o644);
    return { ...taken, name };
  }

  async setMode(name: string, mode: number): Promise<void> {
    await this.folder.within(name, (path) => chmod(path, mode));
  }

  async remove(name: string): Promise<void> {
    await this.folder.within(name, (path) => unlink(path));
    this.#left.delete(name);
  }

  /** It has taken its place, and its name here is no more. */
  gone(name: string): void {
    this.#left.delete(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#left) await this.folder.within(name, (path) => unlink(path)).catch(unlessMissing);
    await this.folder[Symbol.asyncDispose]();
    await this.#root.within(this.#name, (path) => rmdir(path)).catch(unlessMissing);
  }
}

/** A person may have removed it. */
function unlessMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

/** The file with its content read, so that the next can come. */
export async function inMemory(file: TreeFile): Promise<TreeFile> {
  return { ...file, content: [await buffer(Readable.from(file.content))] };
}

/** Reads a file's content to its end. */
export async function take(file: TreeFile, onPiece?: (piece: Buffer) => Promise<void>): Promise<Taken> {
  const hash = createHash("sha256");
  const pieces: Buffer[] = [];
  for await (const piece of file.content) {
    hash.update(piece);
    if (file.sizeBytes <= KEPT_BYTES) pieces.push(piece);
    await onPiece?.(piece);
  }
  const sha256 = hash.digest("hex");
  return file.sizeBytes <= KEPT_BYTES ? { sha256, content: Buffer.concat(pieces) } : { sha256 };
}
