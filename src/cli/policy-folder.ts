import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { MAX_FILE_BYTES } from "../policy/read-files.ts";

/**
 * Writes a bundle into a folder of its own, which only its owner may read. INVARIANT: the folder is made here, so that nothing that was
 * there is replaced, and no link is followed.
 * @throws GatewayError INVALID_ARGUMENTS when the folder is there already or can't be made, or a file is too large to be loaded again
 */
export async function writeFolder(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, text] of files) {
    if (Buffer.byteLength(text) <= MAX_FILE_BYTES) continue;
    const message = `\`${name}\` would have more than ${MAX_FILE_BYTES} bytes, and no bundle may: name fewer things, or a shorter session`;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  try {
    await mkdir(directory, { mode: 0o700 });
    for (const [name, text] of files) await writeFile(join(directory, name), text, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    const there = cause.code === "EEXIST";
    const why = there ? "it is there already, and nothing is replaced; name a new folder" : printable(cause.message);
    throw new GatewayError("INVALID_ARGUMENTS", `cannot write the bundle \`${printable(directory)}\`: ${why}`, {
      cause,
    });
  }
}
