import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { run } from "./command.ts";
import { CHARACTER_DEVICE, type CpioEntry, cpio, DIRECTORY, REGULAR } from "./cpio.ts";
import { SOURCE_DATE_EPOCH } from "./debian.ts";
import type { Stage, Workshop } from "./stages.ts";

/** Empty directories of the guest's root: mount points, and what programs expect. */
const DIRECTORIES = ["dev", "proc", "sys", "run", "tmp", "newroot", "root", "var/lib/docker", "etc/docker"] as const;
/** Any fixed value: equal contents shall be equal bytes. */
const EROFS_UUID = "6f0e8d5c-0000-4000-8000-676c6f766562";

export interface GuestParts {
  readonly kernel: Stage;
  readonly toolchain: Stage;
  readonly engine: Stage;
}

/**
 * Lays out the guest's root file system: the engine's programs with their libraries, our two programs compiled from source, and
 * nothing else. No shell, no package manager, no set-uid file.
 */
export async function layOutRoot(workshop: Workshop, parts: GuestParts, sources: string): Promise<string> {
  const root = await mkdtemp(join(workshop.scratch, "root-"));
  await chmod(root, 0o755);
  await cp(join(parts.engine.directory, "usr"), join(root, "usr"), { recursive: true });
  for (const directory of DIRECTORIES) await mkdir(join(root, directory), { recursive: true });
  for (const name of ["bin", "sbin", "lib", "lib64"]) await symlink(`usr/${name}`, join(root, name));
  await symlink("/run", join(root, "var/run"));
  await cp(join(sources, "root"), root, { recursive: true });
  await mkdir(join(root, "usr/libexec/glovebox"), { recursive: true });
  for (const program of ["agent", "inside"]) {
    await compile(workshop, parts.toolchain, join(sources, program), join(root, "usr/libexec/glovebox", program));
  }
  await symlink("/usr/libexec/glovebox/agent", join(root, "usr/sbin/init"));
  return root;
}

/** Writes `vmlinuz`, `initramfs` and `root.erofs` into `directory`. */
export async function packGuest(workshop: Workshop, kernel: Stage, root: string, directory: string): Promise<void> {
  await copyFile(join(kernel.directory, "vmlinuz"), join(directory, "vmlinuz"));
  await writeFile(join(directory, "initramfs"), gzipSync(await initramfs(kernel, root), { level: 9 }));
  const fixed = ["-T", String(SOURCE_DATE_EPOCH), "-U", EROFS_UUID, "--all-root"];
  await run(["mkfs.erofs", "--quiet", "-zlz4hc", ...fixed, join(directory, "root.erofs"), root], workshop.command);
}

/** The agent as `/init`, the modules that it loads, and the directories that it mounts on. */
async function initramfs(kernel: Stage, root: string): Promise<Buffer> {
  const directories = ["dev", "proc", "sys", "newroot", "modules"].map((path) => ({ path, mode: DIRECTORY | 0o755 }));
  const modules = join(kernel.directory, "modules");
  const files: CpioEntry[] = [];
  for (const name of (await readdir(modules)).sort()) {
    files.push({ path: `modules/${name}`, mode: REGULAR | 0o644, content: await readFile(join(modules, name)) });
  }
  const init = await readFile(join(root, "usr/libexec/glovebox/agent"));
  return cpio([
    ...directories,
    { path: "dev/console", mode: CHARACTER_DEVICE | 0o600, device: [5, 1] },
    { path: "init", mode: REGULAR | 0o755, content: init },
    ...files,
  ]);
}

/** A static program, from the standard library alone: nothing is downloaded. */
async function compile(workshop: Workshop, toolchain: Stage, source: string, program: string): Promise<void> {
  const goroot = join(toolchain.directory, workshop.recipe.toolchain.goroot);
  const argv = ["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, "."] as const;
  const env = {
    GOROOT: goroot,
    GOCACHE: join(workshop.cache, "go-build"),
    GOPATH: join(workshop.scratch, "go"),
    GOTOOLCHAIN: "local",
    GOPROXY: "off",
    GOFLAGS: "-mod=mod",
    CGO_ENABLED: "0",
  };
  await run([join(goroot, "bin/go"), ...argv], { ...workshop.command, cwd: source, env });
}
