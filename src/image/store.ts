import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { MachineImage } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { type ImageFile, type ImageManifest, imageManifestSchema, imageNameSchema } from "./image.ts";
import { lockStore, type WaitOptions } from "./lock.ts";

/**
 * The guest images of this host:
 *
 *     <store>/<name>.json          manifest: which files, and their digests
 *     <store>/guests/<id>/         vmlinuz, initramfs, root.erofs: shared by all images
 *     <store>/disks/<id>/data.raw  an inner engine's disk that holds the agent image
 *     <store>/verified/            which files have been checked, by inode, size and times
 *     <store>/cache/               stages of builds
 *
 * Files in `guests/` and `disks/` never change: another build has another id. A manifest is replaced whole.
 */
export interface ImageStore {
  /** Checks that every file is what the manifest says. @throws GatewayError IMAGE_MISSING, IMAGE_CORRUPT */
  find(name: string): Promise<MachineImage>;
  /** @throws GatewayError IMAGE_CORRUPT when a manifest cannot be read */
  list(): Promise<ImageManifest[]>;
  /** Files that no other image uses go with it; machines that run keep theirs open. @throws GatewayError IMAGE_MISSING */
  remove(name: string, options: WaitOptions): Promise<void>;
}

export function openImageStore(directory: string): ImageStore {
  return {
    find: (name) => findImage(directory, name),
    list: async () => Promise.all((await imageNames(directory)).map((name) => readManifest(directory, name))),
    remove: async (name, options) => {
      const path = manifestPath(directory, name);
      using _lock = await lockStore(directory, options);
      if (!(await lstat(path).catch(ignoreMissing))) throw missingImage(name);
      await rm(path);
      await removeUnused(directory);
    },
  };
}

async function findImage(directory: string, name: string): Promise<MachineImage> {
  const manifest = await readManifest(directory, name);
  const { kernel, initramfs, root, data, seal } = manifest.files;
  for (const file of [kernel, initramfs, root, data, seal]) await verify(directory, name, file);
  const path = (file: ImageFile) => join(directory, file.path);
  return {
    digest: digestOf(manifest),
    kernel: path(kernel),
    initramfs: path(initramfs),
    root: path(root),
    data: path(data),
    seal: path(seal),
    agentImage: manifest.agentImage,
  };
}

/** The manifests that can be read. One that cannot is no image any more: the next build replaces it. */
export async function readableManifests(directory: string): Promise<ImageManifest[]> {
  const read = (name: string) =>
    readManifest(directory, name).catch((error: unknown) => {
      if (!(error instanceof GatewayError)) throw error;
    });
  const manifests = await Promise.all((await imageNames(directory)).map(read));
  return manifests.filter((it) => it !== undefined);
}

/** Puts an image into force, whole or not at all. */
export async function publish(directory: string, manifest: ImageManifest): Promise<void> {
  const draft = join(directory, `.${manifest.name}.new`);
  await writeFile(draft, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o644 });
  await rename(draft, join(directory, `${manifest.name}.json`));
}

/** Removes the files that no image uses. Only for the holder of the store's lock: an unfinished build's files are unused too. */
export async function removeUnused(directory: string): Promise<void> {
  const files = (await readableManifests(directory)).flatMap((it) => Object.values(it.files));
  const used = new Set(files.map((it) => it.path.slice(0, it.path.lastIndexOf("/"))));
  for (const kind of ["guests", "disks"]) {
    const found = (await readdir(join(directory, kind)).catch(ignoreMissing)) ?? [];
    for (const name of found.filter((it) => !used.has(`${kind}/${it}`))) {
      await rm(join(directory, kind, name), { recursive: true, force: true });
    }
  }
  const records = new Set(files.map(recordName));
  for (const name of (await readdir(join(directory, "verified")).catch(ignoreMissing)) ?? []) {
    if (!records.has(name)) await rm(join(directory, "verified", name), { force: true });
  }
}

/** What the manifest shall say of a finished file, which is on the disk and counts as checked from here on. */
export async function describeFile(directory: string, path: string): Promise<ImageFile> {
  await using handle = await open(join(directory, path));
  await handle.sync();
  const { size } = await handle.stat();
  const file: ImageFile = { path, sizeBytes: size, sha256: await hashFile(join(directory, path)) };
  await writeFile(join(directory, "verified", recordName(file)), await identityOf(directory, file));
  return file;
}

export async function isIntact(directory: string, file: ImageFile): Promise<boolean> {
  try {
    await verify(directory, "", file);
    return true;
  } catch (error) {
    if (error instanceof GatewayError) return false;
    throw error;
  }
}

/** A file is hashed when its identity is not the one that was hashed before. */
async function verify(directory: string, image: string, file: ImageFile): Promise<void> {
  const corrupt = (why: string) =>
    new GatewayError("IMAGE_CORRUPT", `\`${file.path}\` of the image \`${image}\` ${why}`);
  const path = join(directory, file.path);
  const found = await lstat(path).catch(ignoreMissing);
  if (!found?.isFile()) throw corrupt("is missing");
  if (found.size !== file.sizeBytes) throw corrupt("has another size than its manifest says");
  const identity = await identityOf(directory, file);
  const record = join(directory, "verified", recordName(file));
  if ((await readFile(record, "utf8").catch(() => "")) === identity) return;
  if ((await hashFile(path)) !== file.sha256) throw corrupt("does not match its digest");
  // Only saves time: a store that this user may not write is checked every time.
  await writeFile(record, identity).catch(() => undefined);
}

async function identityOf(directory: string, file: ImageFile): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(join(directory, file.path), { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs, file.sha256].join(" ");
}

function recordName(file: ImageFile): string {
  return file.path.replaceAll("/", "_");
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

/** @throws GatewayError IMAGE_MISSING for a name that no image can have */
function manifestPath(directory: string, name: string): string {
  if (!imageNameSchema.safeParse(name).success) throw missingImage(name);
  return join(directory, `${name}.json`);
}

function missingImage(name: string): GatewayError {
  if (name === "default") return new GatewayError("IMAGE_MISSING", "the guest image has not been built");
  return new GatewayError("IMAGE_MISSING", `there is no agent image \`${name}\`: \`glovebox image add\` makes one`);
}

async function imageNames(directory: string): Promise<string[]> {
  const names = (await readdir(directory).catch(ignoreMissing)) ?? [];
  const images = names.filter((it) => it.endsWith(".json")).map((it) => it.slice(0, -".json".length));
  return images.filter((it) => imageNameSchema.safeParse(it).success).sort();
}

/** @throws GatewayError IMAGE_MISSING, IMAGE_CORRUPT */
async function readManifest(directory: string, name: string): Promise<ImageManifest> {
  const text = await readFile(manifestPath(directory, name), "utf8").catch(ignoreMissing);
  if (text === undefined) throw missingImage(name);
  try {
    const manifest = imageManifestSchema.parse(JSON.parse(text));
    if (manifest.name === name) return manifest;
  } catch (cause) {
    throw new GatewayError("IMAGE_CORRUPT", `the manifest of the image \`${name}\` cannot be read`, { cause });
  }
  throw new GatewayError("IMAGE_CORRUPT", `the manifest of the image \`${name}\` is that of another`);
}

function digestOf({ files, agentImage }: ImageManifest): string {
  const all = Object.entries(files).map(([kind, { sha256 }]) => `${kind} ${sha256}`);
  const hash = createHash("sha256").update([...all.sort(), agentImage].join("\n"));
  return `sha256:${hash.digest("hex")}`;
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}
