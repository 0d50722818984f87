import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import type { TreeEntry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { Folder } from "./folder.ts";
import { type IgnoreLevel, ignoreLevels, isIgnored } from "./ignore-file.ts";
import type { Report } from "./report.ts";
import type { Rules } from "./rules.ts";

/** A file up to this size is read as a whole, so that one that changes meanwhile is still told right. */
const WHOLE_FILE_BYTES = 262_144;
/** Whole files that are read at once. */
const PARALLEL = 8;
const MAX_DEPTH = 64;

export interface ImportOptions {
  readonly rules: Rules;
  readonly gitignore: boolean;
  readonly limits: { readonly maxFiles: number; readonly maxBytes: number };
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** Where the walk is: a directory, or that of the one file that is imported. */
export interface Place {
  readonly folder: Folder;
  /** From the mount's root. */
  readonly names: readonly string[];
  readonly levels: readonly IgnoreLevel[];
}

/** What of a place is imported, as entries named from there on. What the rules refuse, or what can't be had, is reported and left out. */
export class Walk {
  readonly #options: ImportOptions;
  readonly #base: number;
  #entries = 0;
  #bytes = 0;
  /** Directories on the way to where the walk is that have not been told of, because nothing in them has. */
  #untold: string[] = [];

  constructor(options: ImportOptions, base: number) {
    this.#options = options;
    this.#base = base;
  }

  async *directory(place: Place): AsyncGenerator<TreeEntry> {
    const { rules, gitignore, report, signal } = this.#options;
    const { folder, names } = place;
    if (names.length - this.#base > MAX_DEPTH) throw tooMuch(`directories deeper than ${MAX_DEPTH}`);
    if (names.length > this.#base) this.#untold.push(this.#nameOf(names));
    const files: string[] = [];
    const directories: string[] = [];
    for (const { name, kind } of await folder.entries()) {
      signal.throwIfAborted();
      const path = [...names, name];
      const refusal = rules.refusal(path, kind === "directory", "import");
      const ignored = gitignore && isIgnored(place.levels, path, kind === "directory");
      if (refusal ?? ignored) report.skip(path.join("/"), refusal ?? "ignored");
      else if (kind === "directory") directories.push(name);
      else if (!rules.includes(path, false)) report.skip(path.join("/"), "excluded");
      else if (kind === "special") report.skip(path.join("/"), "special");
      else if (kind === "file") files.push(name);
      else yield* this.#link(place, name);
    }
    yield* this.files(place, files);
    for (const name of directories) yield* this.#below(place, name);
    const last = this.#untold.at(-1);
    if (last === undefined || last !== this.#nameOf(names)) return;
    if (rules.includes(names, true)) yield* this.#told();
    else this.#untold.pop();
  }

  async *#below({ folder, names, levels }: Place, name: string): AsyncGenerator<TreeEntry> {
    const path = [...names, name];
    let below: Folder;
    try {
      below = await folder.folder(name);
    } catch (error) {
      this.#skipUnreadable(path, error);
      return;
    }
    await using _open = below;
    const { gitignore } = this.#options;
    yield* this.directory({
      folder: below,
      names: path,
      levels: gitignore ? await ignoreLevels(below, path, levels) : levels,
    });
  }

  /** The directories that have to be there first. */
  *#told(): Generator<TreeEntry> {
    for (const name of this.#untold.splice(0)) {
      this.#count(0);
      yield { kind: "directory", name };
    }
  }

  async *files(place: Place, names: readonly string[]): AsyncGenerator<TreeEntry> {
    for (let first = 0; first < names.length; first += PARALLEL) {
      this.#options.signal.throwIfAborted();
      const batch = names.slice(first, first + PARALLEL);
      const read = await Promise.all(batch.map((it) => this.#read(place, it)));
      for (const entry of read) {
        if (!entry) continue;
        yield* this.#told();
        yield entry;
      }
      for (const [index, name] of batch.entries()) if (read[index] === undefined) yield* this.#large(place, name);
    }
  }

  /** A whole file; nothing for one that can't be had (`null`), or is to be read piece by piece (`undefined`). */
  async #read({ folder, names }: Place, name: string): Promise<TreeEntry | null | undefined> {
    const path = [...names, name];
    const file = await this.#opened(folder, path);
    if (!file) return null;
    await using handle = file.handle;
    if (file.stats.size > WHOLE_FILE_BYTES) return undefined;
    const content = Buffer.allocUnsafe(file.stats.size);
    let filled = 0;
    for (let more = true; more && filled < content.length; ) {
      const { bytesRead } = await handle.read(content, filled, content.length - filled, filled);
      filled += bytesRead;
      more = bytesRead > 0;
    }
    this.#count(filled);
    const whole = content.subarray(0, filled);
    this.#options.report.add(this.#nameOf(path), filled, createHash("sha256").update(whole).digest("hex"));
    return {
      kind: "file",
      name: this.#nameOf(path),
      executable: isExecutable(file.stats),
      sizeBytes: filled,
      content: [whole],
    };
  }

  async *#large({ folder, names }: Place, name: string): AsyncGenerator<TreeEntry> {
    const path = [...names, name];
    const file = await this.#opened(folder, path);
    if (!file) return;
    await using handle = file.handle;
    const sizeBytes = file.stats.size;
    this.#count(sizeBytes);
    yield* this.#told();
    const content = this.#pieces(handle, path, sizeBytes);
    yield { kind: "file", name: this.#nameOf(path), executable: isExecutable(file.stats), sizeBytes, content };
  }

  async *#pieces(handle: FileHandle, path: readonly string[], sizeBytes: number): AsyncGenerator<Buffer> {
    const hash = createHash("sha256");
    let at = 0;
    while (at < sizeBytes) {
      this.#options.signal.throwIfAborted();
      const piece = Buffer.allocUnsafe(Math.min(WHOLE_FILE_BYTES, sizeBytes - at));
      const { bytesRead } = await handle.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw changed(path);
      at += bytesRead;
      hash.update(piece.subarray(0, bytesRead));
      yield piece.subarray(0, bytesRead);
    }
    this.#options.report.add(this.#nameOf(path), sizeBytes, hash.digest("hex"));
  }

  async #opened(folder: Folder, path: readonly string[]) {
    try {
      const file = await folder.file(path.at(-1) ?? "");
      if (typeof file !== "string") return file;
      this.#options.report.skip(path.join("/"), file === "link" ? "link" : "special");
    } catch (error) {
      this.#skipUnreadable(path, error);
    }
    return undefined;
  }

  /** A link that stays within what is imported is one in the sandbox too; what it leads to is not looked at. */
  async *#link({ folder, names }: Place, name: string): AsyncGenerator<TreeEntry> {
    const path = [...names, name];
    const own = this.#nameOf(path);
    let target: string;
    try {
      target = await folder.link(name);
    } catch (error) {
      this.#skipUnreadable(path, error);
      return;
    }
    const leads = posix.normalize(posix.join(posix.dirname(own), target));
    if (target.startsWith("/") || target.includes("\ufffd") || leads === ".." || leads.startsWith("../")) {
      this.#options.report.skip(path.join("/"), "link");
      return;
    }
    this.#count(0);
    this.#options.report.links += 1;
    yield* this.#told();
    yield { kind: "link", name: own, target };
  }

  #nameOf(path: readonly string[]): string {
    return path.slice(this.#base).join("/");
  }

  #count(bytes: number): void {
    const { maxFiles, maxBytes } = this.#options.limits;
    this.#entries += 1;
    this.#bytes += bytes;
    if (this.#entries > maxFiles) throw tooMuch(`more than ${maxFiles} files, directories and links`);
    if (this.#bytes > maxBytes) throw tooMuch(`more than ${maxBytes} bytes`);
  }

  /** What went away, may not be read, or became something else is left out, and said. */
  #skipUnreadable(path: readonly string[], error: unknown): void {
    if (!/^(ENOENT|ENOTDIR|ELOOP|EACCES|EPERM|ENXIO)$/.test(codeOf(error) ?? "")) throw error;
    this.#options.report.skip(path.join("/"), "unreadable");
  }
}

function isExecutable({ mode }: { readonly mode: number }): boolean {
  return (mode & 0o111) !== 0;
}

function tooMuch(what: string): GatewayError {
  return new GatewayError("TRANSFER_TOO_LARGE", `there are ${what} to import`);
}

function changed(path: readonly string[]): GatewayError {
  return new GatewayError("FILE_CHANGED", `\`${shown(path)}\` changed while it was read`);
}

/** A path for a message. */
export function shown(path: readonly string[]): string {
  return printable(path.join("/"), 500);
}
