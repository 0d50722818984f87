import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import type { Branch } from "./branch.ts";
import type { Folder } from "./folder.ts";
import { KEPT_BYTES, type Taken } from "./staging.ts";

/** How a file of the sandbox stands to what the host has in its place. */
export type FileState = "new" | "changed" | "same";

export type Found =
  | { readonly state: "new" | "same" }
  /** Something that is no file is there, or something that is no directory above. */
  | { readonly state: "taken" }
  /** `before`: what it holds, when it is small; `beforeSha256`: unless its size alone says that it differs, and it is large. */
  | { readonly state: "changed"; readonly existing: Stats; readonly before?: Buffer; readonly beforeSha256?: string };

/** @throws GatewayError FILE_CHANGED when it is replaced at this moment; errors of the system */
export async function compare(
  branch: Branch,
  names: readonly string[],
  taken: Taken & { readonly bytes: number },
): Promise<Found> {
  const folder = await branch.find(names.slice(0, -1));
  if (folder === "missing") return { state: "new" };
  if (folder === "taken") return { state: "taken" };
  const name = names.at(-1) ?? "";
  const existing = await statIfAny(folder, name);
  if (!existing) return { state: "new" };
  if (!existing.isFile()) return { state: "taken" };
  const before = await readExisting(folder, name, taken.bytes);
  if (before.sha256 === taken.sha256) return { state: "same" };
  return {
    state: "changed",
    existing,
    ...(before.content && { before: before.content }),
    ...(before.sha256 !== undefined && { beforeSha256: before.sha256 }),
  };
}

async function statIfAny(folder: Folder, name: string): Promise<Stats | undefined> {
  try {
    return await folder.stat(name);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The content where it is small; its digest, unless its size says already that it differs. */
async function readExisting(folder: Folder, name: string, otherBytes: number): Promise<Partial<Taken>> {
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
