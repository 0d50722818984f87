import { mkdir } from "node:fs/promises";
import { codeOf } from "../lib/error.ts";
import { type Folder, newOwner } from "./folder.ts";

/** Holds open the directories that the last path lay in: most paths lie beside the one before. */
export class Branch implements AsyncDisposable {
  readonly #root: Folder;
  #held: { readonly name: string; readonly folder: Folder }[] = [];

  constructor(root: Folder) {
    this.#root = root;
  }

  /** The directory at the path; `missing` when there is nothing, `taken` when something there, or above, is no directory. */
  async find(names: readonly string[]): Promise<Folder | "missing" | "taken"> {
    let at = await this.#leave(names);
    for (const name of names.slice(this.#held.length)) {
      const folder = await below(at, name);
      if (typeof folder === "string") return folder;
      this.#held.push({ name, folder });
      at = folder;
    }
    return at;
  }

  /** The directory at the path, made where there is none. @throws errors of the system */
  async make(names: readonly string[]): Promise<Folder> {
    let at = await this.#leave(names);
    for (const name of names.slice(this.#held.length)) {
      const isNew = await makeIn(at, name);
      const folder = await at.folder(name);
      const owner = isNew ? await newOwner(this.#root) : undefined;
      if (owner) await folder.giveTo(owner);
      this.#held.push({ name, folder });
      at = folder;
    }
    return at;
  }

  /** Closes what the path does not lie in; answers the innermost directory that is left. */
  async #leave(names: readonly string[]): Promise<Folder> {
    const other = this.#held.findIndex((it, index) => names[index] !== it.name);
    const left = other === -1 ? [] : this.#held.splice(other);
    for (const { folder } of left) await folder[Symbol.asyncDispose]();
    return this.#held.at(-1)?.folder ?? this.#root;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave([]);
  }
}

/** Whether it was not there. */
async function makeIn(folder: Folder, name: string): Promise<boolean> {
  try {
    await folder.within(name, (path) => mkdir(path, { mode: 0o755 }));
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

async function below(folder: Folder, name: string): Promise<Folder | "missing" | "taken"> {
  try {
    return await folder.folder(name);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return "missing";
    if (code === "ENOTDIR" || code === "ELOOP") return "taken";
    throw error;
  }
}
