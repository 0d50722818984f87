import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import type { TreeEntry, TreeFile } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { Branch } from "./branch.ts";
import { commit, type Placement } from "./commit.ts";
import { errorCode, type Folder } from "./folder.ts";
import type { OpenMount } from "./mounts.ts";
import type { Report } from "./report.ts";
import type { Rules } from "./rules.ts";
import { KEPT_BYTES, Staging, type Taken, take } from "./staging.ts";

/** How a file of the sandbox stands to what the host has in its place. */
export type FileState = "new" | "changed" | "same";

export interface ExportOptions {
  /** Where in the mount, from its root: of the directory that is exported, or of the single file. */
  readonly names: readonly string[];
  readonly rules: Rules;
  readonly overwrite: boolean;
  readonly dryRun: boolean;
  readonly report: Report;
  readonly signal: AbortSignal;
  readonly onFile: (path: string, state: FileState) => void;
  /** Gets both contents of a file that is changed, when both are small. */
  readonly onChanged: (path: string, before: Buffer, after: Buffer) => Promise<void>;
}

/**
 * Takes everything in first and compares it with what is there; only when all of it has come does anything take its place. Without
 * `overwrite` nothing does when a file would change. Answers whether it did. No link of the host is followed, and none is made.
 * @throws GatewayError FILE_CHANGED, INVALID_ARGUMENTS; errors of the system
 */
export async function exportInto(
  mount: OpenMount,
  entries: AsyncIterable<TreeEntry>,
  options: ExportOptions,
): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const branch = stack.use(new Branch(mount.root));
  const staging = options.dryRun ? undefined : stack.use(await Staging.create(mount.root));
  const directories: (readonly string[])[] = [];
  const placements: Placement[] = [];
  let changes = 0;
  for await (const entry of entries) {
    options.signal.throwIfAborted();
    const names = admitted(entry, options);
    if (!names) continue;
    const existing = await lookUp(branch, names, entry.kind);
    if (existing === "taken") options.report.skip(names.join("/"), "taken");
    else if (entry.kind === "directory") directories.push(names);
    if (existing === "taken" || entry.kind !== "file") continue;
    const { state, staged } = await takeIn(entry, names, existing, staging, options);
    if (state === "changed") changes += 1;
    options.onFile(names.join("/"), state);
    if (staged !== undefined) placements.push({ names, staged, ...(existing && { existing: existing.stats }) });
  }
  options.signal.throwIfAborted();
  if (!staging || (changes > 0 && !options.overwrite)) return false;
  await commit({ branch, staging, directories, placements });
  return true;
}

/** Where the entry would go, or nothing when it may not. */
function admitted(entry: TreeEntry, { names: to, rules, report }: ExportOptions): readonly string[] | undefined {
  const names = entry.name === "" ? to : [...to, ...entry.name.split("/")];
  const isDirectory = entry.kind === "directory";
  if (names.length === 0) {
    if (isDirectory) return undefined;
    throw new GatewayError("INVALID_ARGUMENTS", "to: must name the file that a single file becomes");
  }
  const refusal =
    rules.refusal(names, isDirectory, "export") ??
    (entry.kind === "link" ? "link" : entry.kind === "other" ? "special" : undefined);
  if (refusal === undefined && rules.includes(names, isDirectory)) return names;
  // A directory of which only a part is included comes with that part.
  if (refusal !== undefined || !isDirectory) report.skip(names.join("/"), refusal ?? "excluded");
  return undefined;
}

interface Existing {
  readonly folder: Folder;
  readonly name: string;
  readonly stats: Stats;
}

/** The file that is there; `taken` when something else is, or something that is no directory above. */
async function lookUp(branch: Branch, names: readonly string[], kind: TreeEntry["kind"]) {
  if (kind === "directory") return (await branch.find(names)) === "taken" ? "taken" : undefined;
  const folder = await branch.find(names.slice(0, -1));
  if (typeof folder === "string") return folder === "taken" ? "taken" : undefined;
  const name = names.at(-1) ?? "";
  try {
    const stats = await folder.stat(name);
    return stats.isFile() ? ({ folder, name, stats } satisfies Existing) : "taken";
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function takeIn(
  file: TreeFile,
  names: readonly string[],
  existing: Existing | undefined,
  staging: Staging | undefined,
  { report, onChanged }: ExportOptions,
): Promise<{ readonly state: FileState; readonly staged?: string }> {
  const mode = existing ? existing.stats.mode & 0o777 : file.executable ? 0o755 : 0o644;
  const taken: Taken & { readonly name?: string } = staging
    ? await staging.put(file, mode)
    : await take(file, () => undefined);
  const path = names.join("/");
  report.add(file.name === "" ? (names.at(-1) ?? "") : file.name, file.sizeBytes, taken.sha256);
  const staged = taken.name === undefined ? {} : { staged: taken.name };
  if (!existing) return { state: "new", ...staged };
  const before = await readExisting(existing, file.sizeBytes);
  if (before.sha256 !== taken.sha256) {
    if (before.content && taken.content) await onChanged(path, before.content, taken.content);
    return { state: "changed", ...staged };
  }
  if (taken.name !== undefined) await staging?.remove(taken.name);
  return { state: "same" };
}

/** The content where it is small; its digest, unless its size says already that it differs. */
async function readExisting({ folder, name }: Existing, otherBytes: number): Promise<Partial<Taken>> {
  const file = await folder.file(name);
  if (typeof file === "string") throw new GatewayError("FILE_CHANGED", `\`${name}\` was replaced meanwhile`);
  await using handle = file.handle;
  const { size } = file.stats;
  if (size !== otherBytes && size > KEPT_BYTES) return {};
  const hash = createHash("sha256");
  const pieces: Buffer[] = [];
  for await (const piece of handle.createReadStream({ autoClose: false, end: Math.max(size - 1, 0) })) {
    hash.update(piece);
    if (size <= KEPT_BYTES) pieces.push(piece);
  }
  const sha256 = hash.digest("hex");
  return size <= KEPT_BYTES ? { sha256, content: Buffer.concat(pieces) } : { sha256 };
}
