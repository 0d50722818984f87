import { randomBytes } from "node:crypto";
import { link, lstat, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf, messageOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";

/** File systems that have no hard links say so with one of these. */
const NO_LINKS = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

export interface OutputOptions {
  /** Replaces a file that exists. */
  readonly force: boolean;
}

/**
 * A file that appears whole or not at all: what is written goes to another in the same directory, which takes the name when `commit` has it on
 * disk. Disposal without that removes it. Only its owner can read the file: what is exported of a log is as private as the log.
 */
export class OutputFile implements AsyncDisposable {
  readonly #path: string;
  readonly #draft: string;
  readonly #file: Awaited<ReturnType<typeof open>>;
  readonly #force: boolean;

  private constructor(path: string, draft: string, file: Awaited<ReturnType<typeof open>>, force: boolean) {
    this.#path = path;
    this.#draft = draft;
    this.#file = file;
    this.#force = force;
  }

  /** @throws GatewayError INVALID_ARGUMENTS when the file is there already, or cannot be written there */
  static async open(name: string, { force }: OutputOptions): Promise<OutputFile> {
    const path = resolve(name);
    const draft = join(dirname(path), `.${basename(path).slice(0, 100)}-${randomBytes(6).toString("hex")}.tmp`);
    return await writable(path, async () => {
      const existing = await lstat(path).catch(() => undefined);
      if (existing && !force) throw exists(path);
      // A device, a pipe or a link would be replaced by a file.
      if (existing && !existing.isFile()) throw notOrdinary(path);
      return new OutputFile(path, draft, await open(draft, "wx", 0o600), force);
    });
  }

  /** @throws GatewayError INVALID_ARGUMENTS */
  async write(text: string): Promise<void> {
    await writable(this.#path, () => this.#file.appendFile(text));
  }

  /** @throws GatewayError INVALID_ARGUMENTS when somebody made the file meanwhile */
  async commit(): Promise<void> {
    await writable(this.#path, async () => {
      await this.#file.sync();
      if (this.#force) return await rename(this.#draft, this.#path);
      try {
        // Unlike a rename, it never replaces.
        await link(this.#draft, this.#path);
      } catch (error) {
        if (codeOf(error) === "EEXIST") throw exists(this.#path);
        if (!NO_LINKS.includes(codeOf(error) ?? "")) throw error;
        await rename(this.#draft, this.#path);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await rm(this.#draft, { force: true });
  }
}

async function writable<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    const message = `\`${printable(path)}\` cannot be written: ${printable(messageOf(cause))}`;
    throw new GatewayError("INVALID_ARGUMENTS", message, { cause });
  }
}

function exists(path: string): GatewayError {
  return new GatewayError("INVALID_ARGUMENTS", `\`${printable(path)}\` exists; --force replaces it`);
}

function notOrdinary(path: string): GatewayError {
  return new GatewayError("INVALID_ARGUMENTS", `\`${printable(path)}\` is not an ordinary file; give another name`);
}
