import { chmod, mkdir, mkdtemp, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { makeAgentImage } from "./agent-image.ts";
import { archiveFile, bakeDisk, type ImageArchive } from "./bake.ts";
import { compilePrograms, layOutRoot, packGuest } from "./guest.ts";
import type { ImageFile, ImageManifest } from "./image.ts";
import type { KernelChoice, Recipe, RecipeDigests } from "./recipe.ts";
import { cachedStage, makeCompiler, makeEngine, makeKernel, makeToolchain, type Workshop } from "./stages.ts";
import { describeFile, isIntact } from "./store.ts";

/** What one build is to make. */
export interface Plan {
  readonly recipe: Recipe;
  /** The image store. */
  readonly directory: string;
  /** The package's `guest/`. */
  readonly sources: string;
  readonly kernel: KernelChoice;
  readonly digests: RecipeDigests;
  readonly wanted: ImageManifest["recipe"];
  /** Images in the store; their files are taken over where the recipe is the same. */
  readonly known: readonly ImageManifest[];
}

export interface Order extends Plan {
  /** Told before each step. */
  readonly say: (message: string) => void;
}

/** The machine's part of a manifest. */
export interface GuestPart {
  readonly recipe: string;
  readonly kernelRelease: string;
  readonly files: {
    readonly kernel: ImageFile;
    readonly initramfs: ImageFile;
    readonly root: ImageFile;
    readonly seal: ImageFile;
  };
  readonly packages: ImageManifest["packages"];
}

/** The agent image's part of a manifest. */
export interface DiskPart {
  readonly agentImage: string;
  readonly data: ImageFile;
  readonly packages: readonly string[];
}

/** The part that is in the store already, whole. */
export async function knownGuest({ directory, known, wanted }: Plan): Promise<GuestPart | undefined> {
  const image = known.find((it) => it.recipe.guest === wanted.guest);
  if (!image) return undefined;
  const { kernel, initramfs, root, seal } = image.files;
  for (const file of [kernel, initramfs, root, seal]) if (!(await isIntact(directory, file))) return undefined;
  const { agent: _, ...packages } = image.packages;
  const { kernelRelease } = image;
  return { recipe: wanted.guest, kernelRelease, files: { kernel, initramfs, root, seal }, packages };
}

export async function knownDisk({ directory, known, wanted }: Plan): Promise<DiskPart | undefined> {
  const image = known.find((it) => it.recipe.disk === wanted.disk);
  if (!image || !(await isIntact(directory, image.files.data))) return undefined;
  return { agentImage: image.agentImage, data: image.files.data, packages: image.packages["agent"] ?? [] };
}

export async function makeGuest(workshop: Workshop, order: Order): Promise<GuestPart> {
  const { directory, sources, digests, wanted, say } = order;
  say(`the kernel (${order.kernel.package} of Debian ${order.kernel.suite})`);
  const kernel = await cachedStage(workshop, "kernel", digests.kernel, (to) => makeKernel(workshop, order.kernel, to));
  say("the compilers");
  const go = await cachedStage(workshop, "toolchain", digests.toolchain, (to) => makeToolchain(workshop, to));
  const c = await cachedStage(workshop, "compiler", digests.compiler, (to) => makeCompiler(workshop, to));
  say("the container engine");
  const engine = await cachedStage(workshop, "engine", digests.engine, (to) => makeEngine(workshop, to));
  say("compiling our programs");
  const programs = await compilePrograms(workshop, { go, c }, sources);
  say("the machine's root file system and initramfs");
  const root = await layOutRoot(workshop, engine, sources);
  const place = await settle(workshop, directory, "guests", wanted.guest, (to) =>
    packGuest(workshop, { kernel, root, programs }, to),
  );
  return {
    recipe: wanted.guest,
    kernelRelease: await readFile(join(kernel.directory, "release"), "utf8"),
    files: {
      kernel: await describeFile(directory, `${place}/vmlinuz`),
      initramfs: await describeFile(directory, `${place}/initramfs`),
      root: await describeFile(directory, `${place}/root.erofs`),
      seal: await describeFile(directory, `${place}/seal`),
    },
    packages: {
      kernel: [...kernel.packages],
      engine: [...engine.packages],
      compilers: [...go.packages, ...c.packages].sort(),
    },
  };
}

/** @param added an organisation's own image; without it, the default one is made */
export async function makeDisk(workshop: Workshop, order: Order, added: ImageArchive | undefined): Promise<DiskPart> {
  const { directory, sources, digests, wanted, say } = order;
  let archive = added;
  let packages: readonly string[] = [];
  if (!archive) {
    say("the agent's image");
    const agent = await cachedStage(workshop, "agent", digests.agent, (to) => makeAgentImage(workshop, to));
    packages = agent.packages;
    archive = archiveFile(join(agent.directory, "image.tar"));
  }
  say("loading the agent's image onto the data disk");
  const engine = await cachedStage(workshop, "engine", digests.engine, (to) => makeEngine(workshop, to));
  const root = await layOutRoot(workshop, engine, sources);
  const image = archive;
  let agentImage = "";
  const place = await settle(workshop, directory, "disks", wanted.disk, async (to) => {
    agentImage = await bakeDisk(workshop, { root, sources, image, file: join(to, "data.raw") });
  });
  say("taking the disk's digest");
  return { agentImage, data: await describeFile(directory, `${place}/data.raw`), packages };
}

/** How many times `makeGuest` and `makeDisk` say what they do. */
export const GUEST_STEPS = 5;
export const DEFAULT_DISK_STEPS = 3;
export const ADDED_DISK_STEPS = 2;

/**
 * Fills a directory aside and moves it to a name that no image has; answers that name, below the store. Its files are readable for
 * the machines' own users and writable for nobody.
 */
async function settle(
  workshop: Workshop,
  store: string,
  kind: "guests" | "disks",
  digest: string,
  fill: (to: string) => Promise<void>,
): Promise<string> {
  const draft = await mkdtemp(join(workshop.scratch, `${kind}-`));
  await fill(draft);
  for (const name of await readdir(draft)) await chmod(join(draft, name), name === "seal" ? 0o555 : 0o444);
  await chmod(draft, 0o755);
  const place = `${kind}/${digest.slice(0, 16)}-${workshop.id}`;
  await mkdir(join(store, kind), { recursive: true, mode: 0o755 });
  await rename(draft, join(store, place));
  return place;
}
