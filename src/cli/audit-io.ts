import { once } from "node:events";
import { fstatSync, writeSync } from "node:fs";
import { listChains } from "../audit/files.ts";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";

/** The log's content; a path that can't be read is the person's to mend, and named. What others throw, as SQLite does of an index, stays as it is. */
export async function readable<T>(path: string, content: Promise<T>): Promise<T> {
  try {
    return await content;
  } catch (error) {
    if (error instanceof GatewayError || !(error instanceof Error && "syscall" in error)) throw error;
    const why = codeOf(error) === "ENOENT" ? "there is none" : printable(error.message);
    throw new GatewayError("CONFIG_INVALID", `the audit log in \`${printable(path)}\` cannot be read: ${why}`, {
      cause: error,
    });
  }
}

/**
 * A path that is not the right one must not look like a log in which nothing happened, and nothing is made there.
 * @throws GatewayError CONFIG_INVALID where there is no chain
 */
export async function logIn(directory: string): Promise<string> {
  if ((await readable(directory, listChains(directory))).length > 0) return directory;
  const message = `\`${printable(directory)}\` has no log: is --data-dir right, which is the directory above it?`;
  throw new GatewayError("CONFIG_INVALID", message);
}

/** Node takes it for the whole where a file took a part, as a disk does that is nearly full. */
function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** Prints lines to standard output as fast as it is read; false when whoever read it (`head`) has gone. */
export async function print(lines: Iterable<string>): Promise<boolean> {
  const { stdout } = process;
  const ignore = () => undefined;
  stdout.on("error", ignore);
  try {
    const isFile = fstatSync(stdout.fd).isFile();
    for (const line of lines) {
      if (!stdout.writable) return false;
      if (isFile) {
        writeWhole(stdout.fd, `${line}\n`);
        continue;
      }
      if (!stdout.write(`${line}\n`)) await once(stdout, "drain");
    }
    return stdout.writable;
  } catch (error) {
    if (codeOf(error) === "EPIPE") return false;
    throw error;
  } finally {
    stdout.off("error", ignore);
  }
}
