import { constants, type Stats } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { join, normalize } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing } from "../lib/error.ts";
import { printable } from "../lib/text.ts";

const ROOT = 0;
const MAX_BYTES = 1_048_576;

/**
 * Makes sure that nobody but root can change which folder a path leads to: it and all above it are real folders of root's that nobody else may
 * write. From the top down, so that nobody could have exchanged what was looked at before. Access control lists count: what they let others
 * write shows in the group's bits (acl(5), the mask).
 * @throws GatewayError ORGANISATION_POLICY naming the path and the command that repairs it
 */
export async function checkOwnedFolder(path: string): Promise<void> {
  const names = path.split("/").filter((it) => it !== "");
  // A slash at its end would have a link followed.
  if (path !== `/${names.join("/")}` || normalize(path) !== path) {
    throw refused(path, "is not an absolute path in its plainest form: no `.`, `..` or slash at its end");
  }
  for (const at of [0, ...names.map((_, index) => index + 1)]) await checkFolder(`/${names.slice(0, at).join("/")}`);
}

/**
 * The text of a file in such a folder. What is examined is what is read: it is opened once, and no link is followed.
 * @throws GatewayError ORGANISATION_POLICY
 */
export async function readOwnedFile(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stats = await file.stat();
    checkOwned(path, stats);
    if (!stats.isFile()) throw refused(path, "is not a regular file");
    if (stats.size > MAX_BYTES) throw refused(path, `is larger than ${MAX_BYTES} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.readFile());
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    if (error instanceof TypeError) throw refused(path, "is not valid UTF-8", undefined, error);
    throw unreadable(path, error);
  }
}

/** @throws GatewayError ORGANISATION_POLICY when it is another's than root's, or others may write it */
export function checkOwned(path: string, stats: Pick<Stats, "uid" | "mode">): void {
  if (stats.uid !== ROOT) {
    throw refused(path, `belongs to user ${stats.uid} and not to root`, `chown root ${quoted(path)}`);
  }
  if ((stats.mode & (constants.S_IWGRP | constants.S_IWOTH)) !== 0) {
    throw refused(path, "may be written by others than root", `chmod go-w ${quoted(path)}`);
  }
}

async function checkFolder(path: string): Promise<void> {
  const stats = await lstat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (stats.isSymbolicLink()) {
    const repair = `rm ${quoted(path)} && mkdir -m 755 ${quoted(path)}`;
    throw refused(path, "is a symbolic link", `${repair}, then put the real files into it`);
  }
  if (!stats.isDirectory()) throw refused(path, "is not a folder");
  checkOwned(path, stats);
}

function unreadable(path: string, error: unknown): GatewayError {
  if (isMissing(error)) return refused(path, "is missing", "put it back, from your organisation's own copy", error);
  const code = codeOf(error) ?? "unknown error";
  if (code === "ELOOP") return refused(path, "is a symbolic link", `put the real file in its place`, error);
  return refused(path, `cannot be read (${code})`, `chmod a+rX ${quoted(path)}`, error);
}

function refused(path: string, what: string, repair?: string, cause?: unknown): GatewayError {
  const how = repair === undefined ? "" : `; as root: ${printable(repair)}`;
  return new GatewayError("ORGANISATION_POLICY", `\`${printable(path)}\` ${what}${how}`, { cause });
}

/** For a shell. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
