import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GatewayError } from "../errors.ts";
import { type CommandOptions, run } from "./command.ts";
import { bootstrapCommand, type PackageSet, packageOfArchive, SOURCE_DATE_EPOCH } from "./debian.ts";
import { dynamicNeeds } from "./elf.ts";
import type { Mirror } from "./mirror.ts";
import { type KernelModules, loadOrder, moduleName } from "./modules.ts";
import type { Architecture, KernelChoice, Recipe } from "./recipe.ts";
import { unpack } from "./unpack.ts";

/** What the stages of a build share. */
export interface Workshop {
  /** Different in every build: what it makes lies beside what others made of the same recipe. */
  readonly id: string;
  readonly recipe: Recipe;
  readonly arch: Architecture;
  readonly mirror: () => Promise<Mirror>;
  /** The build's own directory; gone when it ends. */
  readonly scratch: string;
  readonly cache: string;
  readonly command: CommandOptions;
  readonly isRoot: boolean;
}

/** A finished stage: a directory that nobody changes any more. */
export interface Stage {
  readonly directory: string;
  /** `name=version`, sorted. */
  readonly packages: readonly string[];
}

/**
 * The directory `<name>-<digest>` of the cache, filled by `make` in the scratch directory and moved into place when it is
 * complete. `make` answers the packages that went into it.
 */
export async function cachedStage(
  workshop: Workshop,
  name: string,
  digest: string,
  make: (directory: string) => Promise<readonly string[]>,
): Promise<Stage> {
  const directory = join(workshop.cache, `${name}-${digest.slice(0, 16)}`);
  const list = join(directory, "packages.json");
  const known = await readFile(list, "utf8").catch(ignoreMissing);
  if (known !== undefined) return { directory, packages: JSON.parse(known) };
  const draft = await mkdtemp(join(workshop.scratch, `${name}-`));
  const packages = await make(draft);
  await writeFile(join(draft, "packages.json"), JSON.stringify(packages));
  await rm(directory, { recursive: true, force: true });
  await rename(draft, directory);
  return { directory, packages };
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

/** Downloads packages and unpacks the wanted files of them; answers the packages. */
async function unpackPackages(
  workshop: Workshop,
  set: Omit<PackageSet, "variant">,
  directory: string,
  wanted: (path: string) => boolean,
): Promise<string[]> {
  const tar = await bootstrap(workshop, { ...set, variant: "extract" });
  const packages: string[] = [];
  await unpack(
    tar,
    directory,
    (path) => {
      const found = packageOfArchive(path);
      if (found) packages.push(found);
      return wanted(path);
    },
    workshop.command.signal,
  );
  await rm(tar);
  return packages.sort();
}

/** Answers the path of the tar archive, in the scratch directory. */
export async function bootstrap(workshop: Workshop, set: PackageSet): Promise<string> {
  const tar = join(await mkdtemp(join(workshop.scratch, "packages-")), "packages.tar");
  await run(bootstrapCommand(set, tar, await workshop.mirror(), workshop.isRoot), {
    ...workshop.command,
    env: { SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH), ...(workshop.isRoot && { TMPDIR: workshop.scratch }) },
  });
  return tar;
}

/** The Go toolchain, without what only its own tests read. */
export function makeToolchain(workshop: Workshop, directory: string): Promise<string[]> {
  const { packages, goroot, source } = workshop.recipe.toolchain;
  const wanted = (path: string) =>
    (path.startsWith(`${goroot}/`) || path.startsWith(`${source}/`)) &&
    !path.startsWith(`${source}/test/`) &&
    !/(_test\.go$|\/testdata\/)/.test(path);
  return unpackPackages(workshop, { suite: workshop.recipe.suite, packages }, directory, wanted);
}

/**
 * A C compiler that runs in this directory as its root: it needs the libraries of its own Debian. `tmp` is for those who
 * compile; nothing else in it changes.
 */
export async function makeCompiler(workshop: Workshop, directory: string): Promise<string[]> {
  const { recipe } = workshop;
  const set = { suite: recipe.suite, packages: recipe.compiler.packages };
  const packages = await unpackPackages(workshop, set, directory, (path) =>
    /^usr\/(bin|include|lib|lib64|libexec)\//.test(path),
  );
  for (const name of ["bin", "lib", "lib64"]) await symlink(`usr/${name}`, join(directory, name));
  await mkdir(join(directory, "tmp"));
  return packages;
}

/** The kernel as `vmlinuz`, its release as `release`, and its modules, uncompressed and numbered in the order of loading. */
export async function makeKernel(workshop: Workshop, choice: KernelChoice, directory: string): Promise<string[]> {
  const all = await mkdtemp(join(workshop.scratch, "kernel-"));
  const set = { suite: choice.suite, packages: [choice.package] };
  const packages = await unpackPackages(workshop, set, all, (path) =>
    /^(boot\/vmlinuz-|(usr\/)?lib\/modules\/)/.test(path),
  );
  const [image] = await readdir(join(all, "boot"));
  if (!image) throw new GatewayError("IMAGE_BUILD_FAILED", `the package ${choice.package} holds no kernel`);
  const release = image.replace("vmlinuz-", "");
  const merged = await readdir(join(all, "usr/lib/modules")).then(
    () => true,
    () => false,
  );
  const modules = await kernelModules(join(all, merged ? "usr" : "", "lib/modules", release), workshop.command);
  await mkdir(join(directory, "modules"));
  const order = await loadOrder(workshop.recipe.kernel.modules, modules);
  for (const { name, content } of order) await writeFile(join(directory, "modules", `${name}.ko`), content);
  await writeFile(join(directory, "modules", "list"), order.map(({ name }) => `${name}.ko\n`).join(""));
  await writeFile(join(directory, "release"), release);
  await rename(join(all, "boot", image), join(directory, "vmlinuz"));
  await rm(all, { recursive: true });
  return packages.filter((it) => it.startsWith("linux-image"));
}

async function kernelModules(directory: string, command: CommandOptions): Promise<KernelModules> {
  const files = (await readdir(directory, { recursive: true })).filter((it) => /\.ko(\.xz)?$/.test(it));
  const paths = new Map(files.map((file) => [moduleName(file), join(directory, file)]));
  const builtin = (await readFile(join(directory, "modules.builtin"), "utf8")).split("\n").map(moduleName);
  return {
    loadable: new Set(paths.keys()),
    builtin: new Set(builtin),
    async read(name) {
      const path = paths.get(name) ?? "";
      if (!path.endsWith(".xz")) return readFile(path);
      await run(["xz", "--decompress", "--keep", "--force", path], command);
      return readFile(path.slice(0, -".xz".length));
    },
  };
}

/** The container engine's programs and the shared libraries that they need, at their places in a root file system. */
export async function makeEngine(workshop: Workshop, directory: string): Promise<string[]> {
  const { recipe, arch, scratch } = workshop;
  const libraries = `usr/lib/${arch.triplet}`;
  const all = await mkdtemp(join(scratch, "engine-"));
  const wanted = (path: string) =>
    /^usr\/(bin|sbin|lib64)\/[^/]+$/.test(path) || (path.startsWith(`${libraries}/`) && /\/[^/]+\.so[^/]*$/.test(path));
  const set = { suite: recipe.suite, packages: recipe.engine.packages };
  const packages = await unpackPackages(workshop, set, all, wanted);
  const pending = [...recipe.engine.files];
  const done = new Set<string>();
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (done.has(path)) continue;
    done.add(path);
    const needs = await dynamicNeeds(join(all, path));
    // The linker stands at its own place, which the interpreter names, and needs nothing.
    if (needs.interpreter) pending.push(mergedPath(needs.interpreter));
    const named = needs.libraries.filter((it) => !it.startsWith("ld-linux"));
    pending.push(...named.map((it) => `${libraries}/${it}`));
    await copyProgram(join(all, path), join(directory, path));
  }
  await rm(all, { recursive: true });
  return packages;
}

/** Debian's merged file system: `/lib64/x` is `/usr/lib64/x`. */
function mergedPath(path: string): string {
  const plain = path.replace(/^\//, "");
  return plain.startsWith("usr/") ? plain : `usr/${plain}`;
}

/** The file itself where `from` is a link to one. */
async function copyProgram(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  await chmod(to, 0o755);
}
