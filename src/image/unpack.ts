import { createWriteStream } from "node:fs";
import { chmod, mkdir, open, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { contentOf, readTar, tarFile } from "./tar.ts";

/**
 * Unpacks the files and symbolic links that `wanted` picks, as this user's. For archives made by ourselves from signed
 * packages: links are made as they are.
 */
export async function unpack(
  archive: string,
  directory: string,
  wanted: (path: string) => boolean,
  signal: AbortSignal,
): Promise<void> {
  await using file = await open(archive);
  for await (const entry of readTar(tarFile(file))) {
    signal.throwIfAborted();
    const { path, type, mode, linkname } = entry;
    if (!wanted(path) || (type !== "file" && type !== "symlink")) continue;
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true });
    // A package that comes later may replace another's file.
    await rm(target, { force: true });
    if (type === "symlink") {
      await symlink(linkname, target);
    } else {
      await pipeline(contentOf(tarFile(file), entry), createWriteStream(target));
      await chmod(target, mode & 0o111 ? 0o755 : 0o644);
    }
  }
}
