import { createHash } from "node:crypto";
import { z } from "zod";
import { normalisePath } from "../policy/facts.ts";
import type { Resource } from "../policy/request.ts";

/** Where the agent works, and what relative paths are relative to. */
export const WORKSPACE = "/workspace";
const MAX_PATH_BYTES = 4_095;
const MAX_NAME_BYTES = 255;

/** Text that may hold any character; what has no UTF-8 form would reach the sandbox as something else than policy saw. */
export function unicode(maxChars: number) {
  return z
    .string()
    .max(maxChars)
    .refine((it) => it.isWellFormed(), "must be valid Unicode (it has a lone surrogate)");
}

/** Text for a path or an argument: the kernel ends those at a NUL. */
export function plain(maxChars: number) {
  return unicode(maxChars).refine((it) => !it.includes("\0"), "must not contain NUL");
}

export const path = plain(MAX_PATH_BYTES)
  .min(1)
  .refine((it) => Buffer.byteLength(it) <= MAX_PATH_BYTES, `must have at most ${MAX_PATH_BYTES} bytes`)
  .refine(
    (it) => it.split("/").every((name) => Buffer.byteLength(name) <= MAX_NAME_BYTES),
    `must have at most ${MAX_NAME_BYTES} bytes between slashes`,
  );

export const sessionId = plain(64)
  .regex(/^ses-[0-9a-z]+$/, "must be a session id (see listSessions)")
  .optional()
  .describe("Session to act in, if not the default one.");

export const sessionName = plain(64)
  .regex(/^[A-Za-z0-9 ._-]+$/, "must be made of letters, digits, spaces, dots, underscores and dashes")
  .optional()
  .describe("For people who read the list of sessions.");

export const processId = plain(64)
  .regex(/^proc-[0-9a-z]+$/, "must be a process id (see listProcesses)")
  .describe("As exec, shell or listProcesses gave it.");

/** The path that is described, decided and used. @throws GatewayError INVALID_ARGUMENTS */
export function targetPath(given: string): string {
  return normalisePath(given, WORKSPACE);
}

/** The sandbox as a whole, as policy sees it. */
export function sandbox(args: { readonly sessionId?: string | undefined }): Resource {
  return { type: "session", id: args.sessionId ?? "default" };
}

/** A body as the audit log keeps it. */
export function digest(content: Buffer): { bytes: number; sha256: string } {
  return { bytes: content.length, sha256: sha256(content) };
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Permission bits as people write them. */
export function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
