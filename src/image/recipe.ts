import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { GatewayError } from "../errors.ts";

/** Raise it when code beside this file changes what a build holds: every store then builds anew. */
const FORMAT = 5;

const packages = z.array(z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/)).min(1);
const path = z.string().regex(/^[\w.+-]+(\/[\w.+-]+)*$/);

const recipeSchema = z.strictObject({
  suite: z.string(),
  kernel: z.strictObject({
    package: z.string(),
    suite: z.string(),
    oldQemu: z.strictObject({ below: z.int(), suite: z.string() }),
    modules: z.array(z.string().regex(/^[\w-]+\??$/)),
  }),
  toolchain: z.strictObject({ packages, goroot: path, source: path }),
  compiler: z.strictObject({ packages }),
  engine: z.strictObject({ packages, files: z.array(path) }),
  agent: z.strictObject({
    packages,
    npm: z.strictObject({ version: z.string(), integrity: z.string().startsWith("sha512-") }),
    exclude: z.array(path),
  }),
  disk: z.strictObject({ sizeMiB: z.int(), reservedPercent: z.int() }),
});

export type Recipe = z.infer<typeof recipeSchema>;

/** What decides the contents of a build. Equal digests: nothing to do. */
export interface RecipeDigests {
  readonly kernel: string;
  readonly toolchain: string;
  readonly compiler: string;
  readonly engine: string;
  /** The agent image as an archive, before it is put on a disk. */
  readonly agent: string;
  /** How an image is put on a disk. */
  readonly bake: string;
  /** Kernel, initramfs, root, and the program that seals templates. */
  readonly guest: string;
}

/** Debian's name of an architecture and the triplet of its library directory. */
export interface Architecture {
  readonly debian: "amd64" | "arm64";
  readonly triplet: string;
}

/** @throws GatewayError IMAGE_BUILD_FAILED */
export function hostArchitecture(): Architecture {
  if (process.arch === "x64") return { debian: "amd64", triplet: "x86_64-linux-gnu" };
  if (process.arch === "arm64") return { debian: "arm64", triplet: "aarch64-linux-gnu" };
  throw new GatewayError("IMAGE_BUILD_FAILED", `there is no guest for the architecture ${process.arch}`);
}

/** @param directory the package's `guest/`. @throws GatewayError IMAGE_BUILD_FAILED */
export async function readRecipe(directory: string): Promise<Recipe> {
  const file = join(directory, "recipe.yaml");
  const parsed = recipeSchema.safeParse(parse(await readFile(file, "utf8")));
  if (parsed.success) return parsed.data;
  throw new GatewayError("IMAGE_BUILD_FAILED", `${file}: ${z.prettifyError(parsed.error)}`);
}

export interface KernelChoice {
  readonly package: string;
  readonly suite: string;
}

/** @param qemuMajor major version of the QEMU that will run the guest, if it is known */
export function chooseKernel({ kernel }: Recipe, arch: Architecture, qemuMajor: number | undefined): KernelChoice {
  const old = qemuMajor !== undefined && qemuMajor < kernel.oldQemu.below;
  return { package: `${kernel.package}-${arch.debian}`, suite: old ? kernel.oldQemu.suite : kernel.suite };
}

/** @param directory the package's `guest/` */
export async function digestRecipe(
  directory: string,
  recipe: Recipe,
  arch: Architecture,
  kernel: KernelChoice,
): Promise<RecipeDigests> {
  const base = [FORMAT, arch.debian, recipe.suite];
  const stages = {
    kernel: digestOf([...base, kernel, recipe.kernel.modules]),
    toolchain: digestOf([...base, recipe.toolchain]),
    compiler: digestOf([...base, recipe.compiler]),
    engine: digestOf([...base, recipe.engine]),
    agent: digestOf([...base, recipe.agent]),
  };
  const bake = await digestTree(directory, ["bake", "mke2fs.conf"]);
  const guest = await digestTree(directory, ["agent", "inside", "runner", "seal", "root"]);
  return {
    ...stages,
    bake: digestOf([stages.engine, recipe.disk, bake]),
    guest: digestOf([stages.kernel, stages.engine, stages.toolchain, stages.compiler, guest]),
  };
}

/** `sha256` of a JSON value, in hex. */
export function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** Digest of names and contents of all files below `directory` that lie under one of `parts`; tests are left out. */
async function digestTree(directory: string, parts: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of await sourceFiles(directory, parts)) {
    const content = await readFile(join(directory, file));
    hash.update(JSON.stringify([file, content.length])).update(content);
  }
  return hash.digest("hex");
}

/** Paths relative to `directory`, sorted. */
export async function sourceFiles(directory: string, parts: readonly string[]): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith("_test.go"))
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .filter((file) => parts.some((part) => file === part || file.startsWith(`${part}/`)))
    .sort();
}
