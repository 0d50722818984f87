import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { MachineImage } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { type ImageFile, type ImageManifest, imageManifestSchema } from "./image.ts";

/**
 * The guest images of this host:
 *
 *     <store>/<name>.json              manifest: which files, and their digests
 *     <store>/guests/<digest>/         vmlinuz, initramfs, root.erofs: shared by all images of one recipe
 *     <store>/disks/<digest>/data.raw  an inner engine's disk that holds the agent image
 *     <store>/verified/                which files have been checked, by inode and time of change
 *     <store>/cache/                   stages of builds
 */
export interface ImageStore {
  /** Checks that every file is what the manifest says. @throws GatewayError IMAGE_MISSING, IMAGE_CORRUPT */
  find(name: string): Promise<MachineImage>;
  list(): Promise<ImageManifest[]>;
  /** Files that no other image uses go with it. @throws GatewayError IMAGE_MISSING */
  remove(name: string): Promise<void>;
}

export function openImageStore(directory: string): ImageStore {
  return {
    find: async (name) => {
      const manifest = await readManifest(directory, name);
      for (const file of Object.values(manifest.files)) await verify(directory, name, file);
      const path = (file: ImageFile) => join(directory, file.path);
      const { kernel, initramfs, root, data } = manifest.files;
      return {
        digest: digestOf(manifest),
        kernel: path(kernel),
        initramfs: path(initramfs),
        root: path(root),
        data: path(data),
        agentImage: manifest.agentImage,
      };
    },
    list: () => listManifests(directory),
    remove: async (name) => {
      await readManifest(directory, name);
      await rm(join(directory, `${name}.json`));
      await removeUnused(directory);
    },
  };
}

/** @throws GatewayError IMAGE_MISSING, IMAGE_CORRUPT */
async function readManifest(directory: string, name: string): Promise<ImageManifest> {
  let text: string;
  try {
    text = await readFile(join(directory, `${name}.json`), "utf8");
  } catch (error) {
    if (!isMissing(error)) throw error;
    const message = name === "default" ? "the guest image has not been built" : `there is no agent image \`${name}\``;
    throw new GatewayError("IMAGE_MISSING", message, { cause: error });
  }
  try {
    return imageManifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new GatewayError("IMAGE_CORRUPT", `the manifest of the image \`${name}\` cannot be read`, { cause: error });
  }
}

export async function listManifests(directory: string): Promise<ImageManifest[]> {
  const names = (await readdir(directory).catch(ignoreMissing)) ?? [];
  const images = names.filter((it) => it.endsWith(".json")).map((it) => it.slice(0, -".json".length));
  return Promise.all(images.sort().map((name) => readManifest(directory, name)));
}

/** Puts an image into force, whole or not at all, and removes files that no image uses any more. */
export async function publish(directory: string, manifest: ImageManifest): Promise<void> {
  const draft = join(directory, `.${manifest.name}.new`);
  await writeFile(draft, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o644 });
  await rename(draft, join(directory, `${manifest.name}.json`));
  await removeUnused(directory);
}

async function removeUnused(directory: string): Promise<void> {
  const files = (await listManifests(directory)).flatMap((it) => Object.values(it.files));
  const used = new Set(files.map((it) => it.path.slice(0, it.path.lastIndexOf("/"))));
  for (const kind of ["guests", "disks"]) {
    const found = (await readdir(join(directory, kind)).catch(ignoreMissing)) ?? [];
    for (const name of found.filter((it) => !used.has(`${kind}/${it}`))) {
      // A machine that still runs keeps its open files.
      await rm(join(directory, kind, name), { recursive: true, force: true });
    }
  }
}

/** A file is hashed when its identity (inode, size, times) is not the one that was hashed before. */
async function verify(directory: string, image: string, file: ImageFile): Promise<void> {
  const corrupt = (why: string) =>
    new GatewayError("IMAGE_CORRUPT", `\`${file.path}\` of the image \`${image}\` ${why}`);
  const path = join(directory, file.path);
  const found = await stat(path, { bigint: true }).catch(ignoreMissing);
  if (!found) throw corrupt("is missing");
  if (found.size !== BigInt(file.sizeBytes)) throw corrupt("has another size than its manifest says");
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  const identity = [dev, ino, size, mtimeNs, ctimeNs, file.sha256].join(" ");
  const record = join(directory, "verified", file.path.replaceAll("/", "_"));
  if ((await readFile(record, "utf8").catch(() => "")) === identity) return;
  if ((await hashFile(path)) !== file.sha256) throw corrupt("does not match its digest");
  // Only saves time: a store that this user may not write is checked every time.
  await writeFile(record, identity).catch(() => undefined);
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

function digestOf({ files, agentImage }: ImageManifest): string {
  const all = Object.entries(files).map(([kind, { sha256 }]) => `${kind} ${sha256}`);
  return `sha256:${createHash("sha256")
    .update([...all.sort(), agentImage].join("\n"))
    .digest("hex")}`;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}
