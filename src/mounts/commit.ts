import type { Stats } from "node:fs";
import { link, rename } from "node:fs/promises";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import type { Branch } from "./branch.ts";
import type { Folder } from "./folder.ts";
import type { Staging } from "./staging.ts";

/** A file that is to take its place. */
export interface Placement {
  readonly names: readonly string[];
  /** Its name among what is staged. */
  readonly staged: string;
  /** What it replaces, as it was when it was compared. */
  readonly existing?: Stats;
}

interface Committing {
  readonly branch: Branch;
  readonly staging: Staging;
  readonly directories: readonly (readonly string[])[];
  readonly placements: readonly Placement[];
}

/** Files of one directory that take their places at once. */
const PARALLEL = 16;

/**
 * Gives everything its place: names alone change. What is new is linked, which no other file's name survives; what is replaced must be
 * what it was compared with. @throws GatewayError FILE_CHANGED, which says how much was done before
 */
export async function commit({ branch, staging, directories, placements }: Committing): Promise<void> {
  for (const names of directories) await branch.make(names);
  for (let first = 0; first < placements.length; ) {
    const directory = directoryOf(placements[first]);
    let end = first + 1;
    while (end < placements.length && end - first < PARALLEL && directoryOf(placements[end]) === directory) end += 1;
    const batch = placements.slice(first, end);
    const folder = await branch.make(batch[0]?.names.slice(0, -1) ?? []);
    const results = await Promise.allSettled(batch.map((it) => place(folder, staging, it)));
    const failed = results.find((it) => it.status === "rejected");
    if (failed) {
      const done = first + results.filter((it) => it.status === "fulfilled").length;
      throw explained(failed.reason, done, placements.length);
    }
    first = end;
  }
}

function directoryOf(placement: Placement | undefined): string {
  return placement?.names.slice(0, -1).join("/") ?? "";
}

async function place(folder: Folder, staging: Staging, { names, staged, existing }: Placement): Promise<void> {
  const name = names.at(-1) ?? "";
  if (existing) await checkUnchanged(folder, names, existing);
  const act = existing ? rename : link;
  await staging.folder.within(staged, (from) => folder.within(name, (to) => act(from, to)));
  if (existing) staging.gone(staged);
  else await staging.remove(staged);
}

async function checkUnchanged(folder: Folder, names: readonly string[], existing: Stats): Promise<void> {
  const now = await folder.stat(names.at(-1) ?? "");
  const same = (["dev", "ino", "size", "mtimeMs", "ctimeMs"] as const).every((it) => now[it] === existing[it]);
  if (!same) throw new GatewayError("FILE_CHANGED", `\`${names.join("/")}\` changed on the host meanwhile`);
}

function explained(error: unknown, done: number, all: number): unknown {
  const share = `${done} of ${all} files have been exported`;
  if (error instanceof GatewayError)
    return new GatewayError(error.code, `${error.message}; ${share}`, { cause: error });
  if (codeOf(error) !== "EEXIST" && codeOf(error) !== "ENOENT") return error;
  return new GatewayError("FILE_CHANGED", `a file or directory appeared or went away on the host meanwhile; ${share}`, {
    cause: error,
  });
}
