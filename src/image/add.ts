import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, pack } from "tar-stream";
import { GatewayError } from "../errors.ts";
import type { AddedImage } from "./build.ts";

const MAX_ARCHIVE_BYTES = 16 * 1024 ** 3;

/**
 * An organisation's own agent image: what `docker save` wrote, or an OCI layout as an archive or a folder. Only its shape is checked
 * here; the inner engine checks the rest when it loads it.
 * @throws GatewayError IMAGE_INVALID
 */
export async function readAddedImage(name: string, path: string): Promise<AddedImage> {
  const stats = await lstat(path).catch((cause: unknown) => {
    throw new GatewayError("IMAGE_INVALID", `cannot read \`${path}\``, { cause });
  });
  if (stats.isDirectory()) return fromFolder(name, path);
  if (!stats.isFile()) throw new GatewayError("IMAGE_INVALID", `\`${path}\` is neither a file nor a folder`);
  if (stats.size > MAX_ARCHIVE_BYTES) throw new GatewayError("IMAGE_INVALID", `\`${path}\` is larger than 16 GiB`);
  await checkArchive(path);
  const open = () => createReadStream(path, { highWaterMark: 1 << 20 });
  return { name, digest: await digestOf(open()), source: { kind: "archive", open } };
}

async function checkArchive(path: string): Promise<void> {
  const names = new Set<string>();
  const entries = extract();
  const reading = pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), entries);
  // A failure of either shows in the loop below.
  reading.catch(() => undefined);
  try {
    for await (const entry of entries) {
      names.add(entry.header.name.replace(/^\.\//, ""));
      entry.resume();
    }
    await reading;
  } catch (cause) {
    throw new GatewayError("IMAGE_INVALID", `\`${path}\` is not a tar archive`, { cause });
  }
  if (names.has("manifest.json") || names.has("oci-layout")) return;
  throw new GatewayError("IMAGE_INVALID", `\`${path}\` holds neither \`manifest.json\` nor \`oci-layout\``);
}

async function fromFolder(name: string, path: string): Promise<AddedImage> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const odd = entries.find((it) => !it.isFile() && !it.isDirectory());
  if (odd) throw new GatewayError("IMAGE_INVALID", `\`${odd.name}\` in the layout is neither a file nor a folder`);
  const files = entries.filter((it) => it.isFile()).map((it) => join(it.parentPath, it.name));
  if (!files.includes(join(path, "oci-layout"))) {
    throw new GatewayError("IMAGE_INVALID", `\`${path}\` is no OCI layout: it has no file \`oci-layout\``);
  }
  const open = () => archiveOf(path, files.sort());
  return { name, digest: await digestOf(open()), source: { kind: "archive", open } };
}

function archiveOf(root: string, files: readonly string[]): Readable {
  const archive = pack();
  const fill = async () => {
    for (const file of files) {
      const { size } = await lstat(file);
      const entry = archive.entry({ name: file.slice(root.length + 1), size, mode: 0o644, mtime: new Date(0) });
      await pipeline(createReadStream(file), entry);
    }
    archive.finalize();
  };
  fill().catch((error: unknown) => archive.destroy(error instanceof Error ? error : undefined));
  return archive as unknown as Readable;
}

async function digestOf(content: Readable): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(content, hash);
  return hash.digest("hex");
}
