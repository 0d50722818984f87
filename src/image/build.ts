import { mkdir, mkdtemp, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { ImageArchive } from "./bake.ts";
import { checkUserNamespaces, removeTree } from "./command.ts";
import type { ImageManifest } from "./image.ts";
import { lockStore } from "./lock.ts";
import { findMirror, type Mirror } from "./mirror.ts";
import {
  ADDED_DISK_STEPS,
  DEFAULT_DISK_STEPS,
  GUEST_STEPS,
  type GuestPart,
  knownDisk,
  knownGuest,
  makeDisk,
  makeGuest,
  type Plan,
} from "./parts.ts";
import { chooseKernel, digestOf, digestRecipe, hostArchitecture, type Recipe, readRecipe } from "./recipe.ts";
import type { Workshop } from "./stages.ts";
import { publish, readableManifests, removeUnused } from "./store.ts";

const SCRATCH_PREFIX = "build-";

export interface BuildOptions {
  /** The image store. */
  readonly directory: string;
  /** The package's `guest/`. */
  readonly sources: string;
  /** Builds although the store has it, from packages that are downloaded anew. */
  readonly force: boolean;
  /** Major version of the QEMU that will run the image, if it is known. */
  readonly qemuMajor: number | undefined;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** An image of an organisation's own: a name, what its contents are told by, and the archive. */
export interface AddedImage {
  readonly name: string;
  readonly digest: string;
  readonly archive: ImageArchive;
}

/**
 * Builds the default image, or puts an added one onto a disk; what the store has already is taken over. Everything is made aside
 * and comes into force when it is complete; a build that is interrupted leaves nothing but finished stages, which the next one
 * uses. A new machine part comes into force for every image in the store, since the gateway speaks with the newest.
 * @throws GatewayError IMAGE_BUILD_FAILED naming the build log, IMAGE_INVALID, DISK_FULL, STATE_UNWRITABLE
 */
export async function buildImage(options: BuildOptions, added?: AddedImage): Promise<ImageManifest> {
  try {
    using _lock = await lockStore(options.directory, options);
    return await buildLocked(options, added);
  } catch (error) {
    options.signal.throwIfAborted();
    throw await asBuildError(error, options.directory);
  }
}

async function buildLocked(options: BuildOptions, added: AddedImage | undefined): Promise<ImageManifest> {
  const { directory, force, signal, progress } = options;
  const name = added?.name ?? "default";
  for (const part of ["cache", "verified"]) await mkdir(join(directory, part), { recursive: true, mode: 0o755 });
  const plan = await planOf(options, added);
  // Of an added image only the disk is made anew: the machine's part is the default image's business.
  const guest = force && !added ? undefined : await knownGuest(plan);
  const disk = force ? undefined : await knownDisk(plan);
  const current = plan.known.find((it) => it.name === name);
  if (guest && disk && current?.recipe.guest === guest.recipe && current.files.data.path === disk.data.path) {
    return current;
  }
  const diskSteps = added ? ADDED_DISK_STEPS : DEFAULT_DISK_STEPS;
  const steps = (guest ? 0 : GUEST_STEPS) + (disk ? 0 : diskSteps);
  let step = 0;
  const say = (message: string) => {
    step += 1;
    progress(`step ${step} of ${steps}: ${message}`);
  };
  await using workshop = await openWorkshop(plan.recipe, options);
  if (force && !added) await rm(workshop.cache, { recursive: true, force: true });
  await mkdir(workshop.cache, { recursive: true });
  const order = { ...plan, say };
  const guestPart = guest ?? (await makeGuest(workshop, order));
  const diskPart = disk ?? (await makeDisk(workshop, order, added?.archive));
  const manifest: ImageManifest = {
    version: 1,
    name,
    recipe: plan.wanted,
    kernelRelease: guestPart.kernelRelease,
    agentImage: diskPart.agentImage,
    builtAt: new Date().toISOString(),
    files: { ...guestPart.files, data: diskPart.data },
    packages: { ...guestPart.packages, agent: [...diskPart.packages] },
  };
  signal.throwIfAborted();
  await publish(directory, manifest);
  for (const other of plan.known.filter((it) => it.name !== name))
    await publish(directory, withGuest(other, guestPart));
  await removeUnused(directory);
  await dropOldStages(workshop.cache);
  return manifest;
}

async function planOf(options: BuildOptions, added: AddedImage | undefined): Promise<Plan> {
  const { directory, sources, qemuMajor } = options;
  const recipe = await readRecipe(sources);
  const arch = hostArchitecture();
  const kernel = chooseKernel(recipe, arch, qemuMajor);
  const digests = await digestRecipe(sources, recipe, arch, kernel);
  const wanted = { guest: digests.guest, disk: digestOf([digests.bake, added?.digest ?? digests.agent]) };
  return { directory, sources, recipe, kernel, digests, wanted, known: await readableManifests(directory) };
}

function withGuest(image: ImageManifest, guest: GuestPart): ImageManifest {
  return {
    ...image,
    recipe: { ...image.recipe, guest: guest.recipe },
    kernelRelease: guest.kernelRelease,
    files: { ...image.files, ...guest.files },
    packages: { ...image.packages, ...guest.packages },
  };
}

/** A directory of this build's own in the store; what killed builds have left there goes first. */
async function openWorkshop(recipe: Recipe, options: BuildOptions): Promise<Workshop & AsyncDisposable> {
  const { directory, signal, progress } = options;
  await using stack = new AsyncDisposableStack();
  const log = stack.use(await open(logPath(directory), "w", 0o644));
  const isRoot = process.getuid?.() === 0;
  // Cleaning up goes on when the build is interrupted.
  const cleaning = { isRoot, command: { log, signal: new AbortController().signal } };
  for (const left of (await readdir(directory)).filter((it) => it.startsWith(SCRATCH_PREFIX))) {
    await removeTree(cleaning, join(directory, left));
  }
  if (!isRoot) await checkUserNamespaces({ log, signal });
  const scratch = await mkdtemp(join(directory, SCRATCH_PREFIX));
  stack.defer(() => removeTree(cleaning, scratch));
  let mirror: Promise<Mirror> | undefined;
  const lookForMirror = async () => {
    const found = await findMirror(process.env);
    if (!found.security) progress("no security archive is known: packages come without Debian's security updates");
    return found;
  };
  const owned = stack.move();
  return {
    id: scratch.slice(-6),
    recipe,
    arch: hostArchitecture(),
    mirror: () => {
      mirror ??= lookForMirror();
      return mirror;
    },
    scratch,
    cache: join(directory, "cache"),
    command: { log, signal },
    isRoot,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Of each stage the newest stays: a change of the recipe does not fill the disk. */
async function dropOldStages(cache: string): Promise<void> {
  const names = (await readdir(cache)).filter((it) => /^[a-z]+-[0-9a-f]{16}$/.test(it));
  const ages = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(cache, name))).ctimeMs })));
  const newest = new Map<string, string>();
  for (const { name } of ages.sort((a, b) => a.at - b.at)) newest.set(name.split("-")[0] ?? name, name);
  const kept = new Set(newest.values());
  for (const name of names.filter((it) => !kept.has(it))) await rm(join(cache, name), { recursive: true, force: true });
}

function logPath(directory: string): string {
  return join(directory, "build.log");
}

/** Names the cause and, where one was written, the log with its last line. */
async function asBuildError(error: unknown, directory: string): Promise<unknown> {
  const code = codeOf(error);
  if (code === "ENOSPC")
    return new GatewayError("DISK_FULL", `the disk that holds \`${directory}\` is full`, { cause: error });
  if (code === "EACCES" || code === "EROFS" || code === "EPERM" || code === "ENOTDIR") {
    return new GatewayError("STATE_UNWRITABLE", `the image store \`${directory}\` cannot be written`, { cause: error });
  }
  if (!(error instanceof GatewayError && error.code === "IMAGE_BUILD_FAILED")) return error;
  const log = await readFile(logPath(directory), "utf8").catch(() => "");
  const last = log.trimEnd().split("\n").at(-1) ?? "";
  const message = `${error.message}. The log of the build is \`${logPath(directory)}\`; it ends with: ${printable(last, 300)}`;
  return new GatewayError("IMAGE_BUILD_FAILED", message, { cause: error });
}
