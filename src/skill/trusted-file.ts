import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../lib/error.ts";
import type { Problem } from "../policy/bundle.ts";

/** `undefined`: there is no such file. */
type Read = { readonly content: Buffer } | { readonly problem: Problem } | undefined;

/**
 * A file that says which skills are trusted. What is examined is what is read: it is opened once, and no link is followed; and nobody else may
 * put another one in its place. Problems name it relative to the directory.
 */
export async function readTrustedFile(directory: string, name: string, maxBytes: number): Promise<Read> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    await using opened = await open(join(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const wrong =
      unfit(directory, name, await opened.stat(), maxBytes) ?? writtenByAll(directory, ".", await stat(directory));
    return wrong ? { problem: wrong } : { content: await opened.readFile() };
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!(error instanceof Error && "code" in error)) throw error;
    if (error.code === "ELOOP") return { problem: notAFile(name) };
    return { problem: { file: name, message: `cannot be read (${String(error.code)})` } };
  }
}

function unfit(directory: string, name: string, stats: Stats, maxBytes: number): Problem | undefined {
  if (!stats.isFile()) return notAFile(name);
  if (stats.size > maxBytes) return { file: name, message: `is larger than ${maxBytes} bytes` };
  return writtenByAll(directory, name, stats);
}

function writtenByAll(directory: string, name: string, { mode }: Stats): Problem | undefined {
  if ((mode & constants.S_IWOTH) === 0) return undefined;
  return { file: name, message: "anybody may write it", fix: `chmod o-w ${join(directory, name)}` };
}

function notAFile(name: string): Problem {
  return { file: name, message: "is not a regular file", fix: "put the file itself there, not a link or a folder" };
}
