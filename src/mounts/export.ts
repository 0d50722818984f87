import type { TreeEntry, TreeFile } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { Branch } from "./branch.ts";
import { commit, type Placement } from "./commit.ts";
import { compare, type FileState, type Found } from "./compare.ts";
import type { OpenMount } from "./mounts.ts";
import type { Report } from "./report.ts";
import type { Rules } from "./rules.ts";
import { inMemory, KEPT_BYTES, Staging, take } from "./staging.ts";

/** Small files that are taken in at once. */
const PARALLEL = 16;

export interface ExportOptions {
  /** Where in the mount, from its root: of the directory that is exported, or of the single file. */
  readonly names: readonly string[];
  readonly rules: Rules;
  readonly overwrite: boolean;
  readonly dryRun: boolean;
  readonly report: Report;
  readonly signal: AbortSignal;
  readonly onFile: (path: string, state: FileState, digests: Digests) => void;
  /** Gets both contents of a file that is changed, when both are small. */
  readonly onChanged: (path: string, before: Buffer, after: Buffer) => Promise<void>;
}

/** A type that JSON's is made of, as interfaces are not. */
type Replaced = { readonly bytes: number; readonly sha256?: string };

/** Of a file as it came, and of the one of the host's that it would replace; its SHA-256 where it was read. */
export interface Digests {
  readonly after: { readonly bytes: number; readonly sha256: string };
  readonly before?: Replaced;
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
  const small: Arrival[] = [];
  const settle = async () => placements.push(...(await settled(small.splice(0), branch, staging, options)));
  for await (const entry of entries) {
    options.signal.throwIfAborted();
    const names = admitted(entry, options);
    if (!names) continue;
    if (entry.kind === "directory") {
      if ((await branch.find(names)) === "taken") options.report.skip(names.join("/"), "taken");
      else directories.push(names);
    } else if (entry.kind === "file") {
      const isSmall = entry.sizeBytes <= KEPT_BYTES;
      small.push({ names, file: isSmall ? await inMemory(entry) : entry });
      if (!isSmall || small.length === PARALLEL) await settle();
    }
  }
  await settle();
  options.signal.throwIfAborted();
  if (!staging || (!options.overwrite && placements.some((it) => it.existing))) return false;
  await commit({ branch, staging, directories, placements });
  return true;
}

interface Arrival {
  readonly names: readonly string[];
  readonly file: TreeFile;
}

/** Takes files in, together, and then compares each with what is there; answers those that are to take their places. */
async function settled(
  arrivals: readonly Arrival[],
  branch: Branch,
  staging: Staging | undefined,
  { report, onFile, onChanged }: ExportOptions,
): Promise<Placement[]> {
  const results = await Promise.allSettled(
    arrivals.map(async ({ file }) => (staging ? await staging.put(file) : { ...(await take(file)), name: undefined })),
  );
  const placements: Placement[] = [];
  for (const [index, { names, file }] of arrivals.entries()) {
    const result = results[index];
    if (result?.status !== "fulfilled") throw result?.reason;
    const { name, ...taken } = result.value;
    const path = names.join("/");
    const found = await compare(branch, names, { ...taken, bytes: file.sizeBytes });
    if (found.state === "taken") report.skip(path, "taken");
    else {
      report.add(file.name === "" ? (names.at(-1) ?? "") : file.name, file.sizeBytes, taken.sha256);
      const after = { bytes: file.sizeBytes, sha256: taken.sha256 };
      onFile(path, found.state, { after, ...(found.state === "changed" && { before: beforeOf(found) }) });
    }
    if (found.state === "changed") {
      if (found.before && taken.content) await onChanged(path, found.before, taken.content);
      if (name !== undefined) await staging?.setMode(name, found.existing.mode & 0o777);
    }
    if (name === undefined) continue;
    if (found.state === "taken" || found.state === "same") await staging?.remove(name);
    else placements.push({ names, staged: name, ...(found.state === "changed" && { existing: found.existing }) });
  }
  return placements;
}

function beforeOf({ existing, beforeSha256 }: Extract<Found, { state: "changed" }>): Replaced {
  return { bytes: existing.size, ...(beforeSha256 !== undefined && { sha256: beforeSha256 }) };
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
