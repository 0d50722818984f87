import { open, stat } from "node:fs/promises";
import { codeOf } from "../../lib/error.ts";

const NEWLINE = "\n".charCodeAt(0);

/**
 * What has to be written before the next line of a file, so that it is one: nothing, or the end of a line that whoever wrote it before was
 * killed at, or had no room for. Where that can't be known it is a newline as well: an empty line costs a reader less than a record.
 */
export async function lineEndWanted(file: string): Promise<"" | "\n"> {
  try {
    const found = await stat(file);
    // A pipe's reader must not be kept from what is in it, and opening one waits.
    if (!found.isFile()) return "\n";
    const { size } = found;
    if (size === 0) return "";
    await using opened = await open(file);
    const { buffer, bytesRead } = await opened.read(Buffer.alloc(1), 0, 1, size - 1);
    return bytesRead === 1 && buffer[0] === NEWLINE ? "" : "\n";
  } catch (error) {
    return codeOf(error) === "ENOENT" ? "" : "\n";
  }
}
