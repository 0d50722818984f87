import { chmod, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../errors.ts";
import { type Lock, tryLock } from "../lib/lock.ts";
import { makeAgentImage } from "./agent-image.ts";
import { bakeDisk, type ImageSource, rootfsFile } from "./bake.ts";
import { layOutRoot, packGuest } from "./guest.ts";
import type { ImageFile, ImageManifest } from "./image.ts";
import { findMirror } from "./mirror.ts";
import {
  chooseKernel,
  digestRecipe,
  hostArchitecture,
  type KernelChoice,
  type RecipeDigests,
  readRecipe,
} from "./recipe.ts";
import { cachedStage, makeEngine, makeKernel, makeToolchain, type Workshop } from "./stages.ts";
import { hashFile, listManifests, openImageStore, publish } from "./store.ts";

export interface BuildOptions {
  /** The image store. */
  readonly directory: string;
  /** The package's `guest/`. */
  readonly sources: string;
  /** Builds although the image in the store is that of the recipe. */
  readonly force: boolean;
  /** Major version of the QEMU that will run the image, if it is known. */
  readonly qemuMajor: number | undefined;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** An image of an organisation's own: a name, the digest of its archive, and the archive. */
export interface AddedImage {
  readonly name: string;
  readonly digest: string;
  readonly source: ImageSource;
}

/**
 * Builds the default image, or puts an added one onto a disk, unless the store has it already. Everything is made aside and moved
 * into place when it is complete; a build that is interrupted leaves nothing but finished stages, which the next one uses.
 * @throws GatewayError IMAGE_BUILD_FAILED naming the build log, IMAGE_INVALID
 */
export async function buildImage(options: BuildOptions, added?: AddedImage): Promise<ImageManifest> {
  const { directory, sources, signal, progress } = options;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  for (const name of ["cache", "verified"]) await mkdir(join(directory, name), { recursive: true });
  using _lock = await waitForLock(join(directory, "build.lock"), options);
  for (const name of (await readdir(directory)).filter((it) => it.startsWith("build-"))) {
    await rm(join(directory, name), { recursive: true, force: true });
  }
  const recipe = await readRecipe(sources);
  const arch = hostArchitecture();
  const kernel = chooseKernel(recipe, arch, options.qemuMajor);
  const digests = await digestRecipe(sources, recipe, arch, kernel);
  const wanted = { guest: digests.guest, disk: added?.digest ?? digests.disk };
  const name = added?.name ?? "default";
  const known = (await listManifests(directory)).find((it) => it.name === name);
  if (!options.force && known && known.recipe.guest === wanted.guest && known.recipe.disk === wanted.disk) {
    const intact = await openImageStore(directory)
      .find(name)
      .catch(() => undefined);
    if (intact) return known;
  }
  const scratch = await mkdtemp(join(directory, "build-"));
  const logPath = join(directory, "build.log");
  try {
    await using log = await open(logPath, "w");
    const isRoot = process.getuid?.() === 0;
    let mirror: ReturnType<typeof findMirror> | undefined;
    const workshop: Workshop = {
      recipe,
      arch,
      mirror: () => {
        mirror ??= findMirror(process.env);
        return mirror;
      },
      scratch,
      cache: join(directory, "cache"),
      command: { log, signal },
      isRoot,
    };
    const manifest = await make(workshop, { ...options, name, kernel, digests, wanted, added });
    progress("putting the image in place");
    await publish(directory, manifest);
    await dropOldStages(workshop.cache);
    return manifest;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "IMAGE_BUILD_FAILED") {
      const message = `${error.message}. The log of the build is \`${logPath}\``;
      throw new GatewayError("IMAGE_BUILD_FAILED", message, { cause: error });
    }
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

interface Order extends BuildOptions {
  readonly name: string;
  readonly kernel: KernelChoice;
  readonly digests: RecipeDigests;
  readonly wanted: ImageManifest["recipe"];
  readonly added: AddedImage | undefined;
}

async function make(workshop: Workshop, order: Order): Promise<ImageManifest> {
  const { directory, sources, digests, wanted, added, name } = order;
  const steps = added ? 6 : 7;
  let step = 0;
  const say = (message: string) => {
    step += 1;
    order.progress(`step ${step} of ${steps}: ${message}`);
  };
  say(`kernel (${order.kernel.package}, Debian ${order.kernel.suite})`);
  const kernel = await cachedStage(workshop, "kernel", digests.kernel, (to) => makeKernel(workshop, order.kernel, to));
  say("Go toolchain");
  const toolchain = await cachedStage(workshop, "toolchain", digests.toolchain, (to) => makeToolchain(workshop, to));
  say("container engine");
  const engine = await cachedStage(workshop, "engine", digests.engine, (to) => makeEngine(workshop, to));
  say("the machine's root file system");
  const root = await layOutRoot(workshop, { kernel, toolchain, engine }, sources);
  const guest = await place(workshop, join(directory, "guests", wanted.guest.slice(0, 32)), (to) =>
    packGuest(workshop, kernel, root, to),
  );
  let source = added?.source;
  const packages: Record<string, string[]> = { kernel: [...kernel.packages], engine: [...engine.packages] };
  if (!source) {
    say("the agent's image");
    const agent = await cachedStage(workshop, "agent", digests.agent, (to) => makeAgentImage(workshop, to));
    packages["agent"] = [...agent.packages];
    source = rootfsFile(join(agent.directory, "rootfs.tar"));
  }
  say("loading the agent's image onto the data disk");
  let agentImage = "";
  const image = source;
  const disk = await place(workshop, join(directory, "disks", wanted.disk.slice(0, 32)), async (to) => {
    agentImage = await bakeDisk(workshop, { root, sources, image, file: join(to, "data.raw") });
  });
  say("taking digests");
  const file = async (where: string, base: string): Promise<ImageFile> => {
    const path = join(where, base);
    return { path: path.slice(directory.length + 1), sizeBytes: (await stat(path)).size, sha256: await hashFile(path) };
  };
  return {
    version: 1,
    name,
    recipe: wanted,
    kernelRelease: await readFile(join(kernel.directory, "release"), "utf8"),
    agentImage,
    builtAt: new Date().toISOString(),
    files: {
      kernel: await file(guest, "vmlinuz"),
      initramfs: await file(guest, "initramfs"),
      root: await file(guest, "root.erofs"),
      data: await file(disk, "data.raw"),
    },
    packages,
  };
}

/** Fills a directory aside and swaps it in. Its files are readable for the machines' own users and writable for nobody. */
async function place(workshop: Workshop, directory: string, fill: (to: string) => Promise<void>): Promise<string> {
  const draft = await mkdtemp(join(workshop.scratch, "place-"));
  await fill(draft);
  for (const name of await readdir(draft)) await chmod(join(draft, name), 0o444);
  await chmod(draft, 0o755);
  await mkdir(join(directory, ".."), { recursive: true, mode: 0o755 });
  await rm(directory, { recursive: true, force: true });
  await rename(draft, directory);
  return directory;
}

/** Of each stage the newest stays: a change of the recipe does not fill the disk. */
async function dropOldStages(cache: string): Promise<void> {
  const names = (await readdir(cache)).filter((it) => /^[a-z]+-[0-9a-f]{16}$/.test(it));
  const ages = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(cache, name))).mtimeMs })));
  const newest = new Map<string, string>();
  for (const { name } of ages.sort((a, b) => a.at - b.at)) newest.set(name.split("-")[0] ?? name, name);
  const kept = new Set(newest.values());
  for (const name of names.filter((it) => !kept.has(it))) await rm(join(cache, name), { recursive: true, force: true });
}

async function waitForLock(path: string, { signal, progress }: BuildOptions): Promise<Lock> {
  let told = false;
  for (;;) {
    const lock = tryLock(path);
    if (lock) return lock;
    if (!told) progress("another build is at work: waiting for it");
    told = true;
    await sleep(500, undefined, { signal });
  }
}
