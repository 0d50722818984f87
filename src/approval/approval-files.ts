import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";

/**
 * Questions and answers as files, between gateways and `glovebox approve`:
 *
 *     <stateDirectory>/approvals/        0700
 *         apr_….json                     0600, a gateway's question; there as long as it is open
 *         apr_….answer                   0600, of who answers: its owner is the approver
 *
 * Both appear whole, under another name first.
 */
export const QUESTION_ID = /^apr_[0-9a-f]{32}$/;

export function answerPath(directory: string, id: string): string {
  return join(directory, `${id}.answer`);
}

export function questionPath(directory: string, id: string): string {
  return join(directory, `${id}.json`);
}

export async function removeBoth(directory: string, id: string): Promise<void> {
  for (const path of [questionPath(directory, id), answerPath(directory, id)])
    await rm(path, { force: true, recursive: true });
}

/** Nobody but its owner writes there, so that nobody puts another file in place of one. */
export async function checkDirectory(directory: string): Promise<void> {
  const found = await lstat(directory);
  if (found.isDirectory() && (found.mode & 0o077) === 0) return;
  throw new GatewayError("APPROVAL_CHANNEL_FAILED", `\`${directory}\` is no directory of mode 0700`);
}

/** Makes a file that only its owner reads; `owner` is for root, who can make it another's. */
export async function writeWhole(path: string, content: object, owner?: { readonly uid: number }): Promise<void> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  await using file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  await file.writeFile(JSON.stringify(content));
  if (owner) await file.chown(owner.uid, (await file.stat()).gid);
  await file.sync();
}

/** Where a file is written before it gets its name. */
export function temporary(directory: string): string {
  return join(directory, `.${randomBytes(12).toString("hex")}`);
}

/** A failure of the file system, as this channel's. */
export function failed(what: string, cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GatewayError("APPROVAL_CHANNEL_FAILED", `${what}: ${reason}`, { cause });
}
