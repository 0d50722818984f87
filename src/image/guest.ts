import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { enclosed, run } from "./command.ts";
import { CHARACTER_DEVICE, type CpioEntry, cpio, DIRECTORY, REGULAR } from "./cpio.ts";
import { SOURCE_DATE_EPOCH } from "./debian.ts";
import type { Stage, Workshop } from "./stages.ts";

/** Empty directories of the guest's root: mount points, and what programs expect. */
const DIRECTORIES = ["dev", "proc", "sys", "run", "tmp", "root", "var/lib/docker", "etc/docker"] as const;
/** Any fixed value: equal contents shall be equal bytes. */
const EROFS_UUID = "6f0e8d5c-0000-4000-8000-676c6f766562";

/**
 * Our programs, static and compiled from the sources in `guest/`. The agent goes into the initramfs and stays process 1; `seal`
 * runs on the host.
 */
export interface Programs {
  readonly agent: string;
  readonly inside: string;
  readonly runner: string;
  readonly seal: string;
}

export interface Compilers {
  readonly go: Stage;
  readonly c: Stage;
}

export async function compilePrograms(workshop: Workshop, compilers: Compilers, sources: string): Promise<Programs> {
  const directory = await mkdtemp(join(workshop.scratch, "programs-"));
  const at = (name: string) => join(directory, name);
  await compileGo(workshop, compilers.go, join(sources, "agent"), at("agent"));
  for (const name of ["inside", "runner", "seal"])
    await compileC(workshop, compilers.c, join(sources, name, `${name}.c`), at(name));
  return { agent: at("agent"), inside: at("inside"), runner: at("runner"), seal: at("seal") };
}

/**
 * Lays out the guest's root file system: the engine's programs with their libraries, what `guest/root` holds, and nothing else. No
 * shell, no package manager, no set-uid file.
 */
export async function layOutRoot(workshop: Workshop, engine: Stage, sources: string): Promise<string> {
  const root = await mkdtemp(join(workshop.scratch, "root-"));
  await cp(join(engine.directory, "usr"), join(root, "usr"), { recursive: true });
  for (const directory of DIRECTORIES) await mkdir(join(root, directory), { recursive: true });
  for (const name of ["bin", "sbin", "lib", "lib64"]) await symlink(`usr/${name}`, join(root, name));
  await symlink("/run", join(root, "var/run"));
  await cp(join(sources, "root"), root, { recursive: true });
  return root;
}

/** Writes `vmlinuz`, `initramfs`, `root.erofs` and `seal` into `directory`. */
export async function packGuest(
  workshop: Workshop,
  parts: { kernel: Stage; root: string; programs: Programs },
  directory: string,
): Promise<void> {
  const { kernel, root, programs } = parts;
  await copyFile(join(kernel.directory, "vmlinuz"), join(directory, "vmlinuz"));
  await copyFile(programs.seal, join(directory, "seal"));
  await writeFile(join(directory, "initramfs"), gzipSync(await initramfs(kernel, programs.agent), { level: 9 }));
  await mkdir(join(root, "usr/libexec/glovebox"), { recursive: true });
  for (const name of ["inside", "runner"] as const)
    await copyFile(programs[name], join(root, "usr/libexec/glovebox", name));
  await plainModes(root);
  // A program that its user may not read can't be traced by that user either: nobody in the sandbox speaks for the witness.
  await chmod(join(root, "usr/libexec/glovebox/inside"), 0o711);
  const fixed = ["-T", String(SOURCE_DATE_EPOCH), "-U", EROFS_UUID, "--all-root", "-x-1"];
  await run(["mkfs.erofs", "--quiet", "-zlz4hc", ...fixed, join(directory, "root.erofs"), root], workshop.command);
}

/** Modes that depend on nothing, least of all on the umask of whoever builds. */
async function plainModes(root: string): Promise<void> {
  await chmod(root, 0o755);
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, entry.parentPath.startsWith(join(root, "etc")) ? 0o644 : 0o755);
  }
}

/** The agent as `/init`, the modules that it loads, and the directories that it mounts on. */
async function initramfs(kernel: Stage, agent: string): Promise<Buffer> {
  const directories = ["dev", "proc", "sys", "newroot", "modules"].map((path) => ({ path, mode: DIRECTORY | 0o755 }));
  const modules = join(kernel.directory, "modules");
  const files: CpioEntry[] = [];
  for (const name of (await readdir(modules)).sort()) {
    files.push({ path: `modules/${name}`, mode: REGULAR | 0o644, content: await readFile(join(modules, name)) });
  }
  return cpio([
    ...directories,
    { path: "dev/console", mode: CHARACTER_DEVICE | 0o600, device: [5, 1] },
    { path: "init", mode: REGULAR | 0o755, content: await readFile(agent) },
    ...files,
  ]);
}

/** A static program, from the standard library alone: nothing is downloaded. The builder's own Go settings are left out. */
async function compileGo(workshop: Workshop, toolchain: Stage, source: string, program: string): Promise<void> {
  const goroot = join(toolchain.directory, workshop.recipe.toolchain.goroot);
  const argv = ["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, "."] as const;
  const env = {
    GOROOT: goroot,
    GOCACHE: join(workshop.cache, "go-build"),
    GOPATH: join(workshop.scratch, "go"),
    GOENV: "off",
    GOWORK: "off",
    GOTOOLCHAIN: "local",
    GOPROXY: "off",
    GOFLAGS: "-mod=readonly",
    GOEXPERIMENT: "",
    GOOS: "linux",
    GOARCH: workshop.arch.debian,
    GOAMD64: "v1",
    CGO_ENABLED: "0",
  };
  await run([join(goroot, "bin/go"), ...argv], { ...workshop.command, cwd: source, env });
}

/** A static program of one file, with the C library linked in. */
async function compileC(workshop: Workshop, compiler: Stage, source: string, program: string): Promise<void> {
  const place = await mkdtemp(join(compiler.directory, "tmp", "compile-"));
  try {
    await copyFile(source, join(place, "source.c"));
    const inside = `/tmp/${basename(place)}`;
    const hardening = ["-O2", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=3", "-Wall", "-Wextra", "-Werror"];
    const linking = ["-static", "-s", "-Wl,--build-id=none", "-Wl,-z,noexecstack"];
    const gcc = [
      "/usr/bin/gcc",
      "-std=gnu17",
      ...hardening,
      ...linking,
      "-o",
      `${inside}/program`,
      `${inside}/source.c`,
    ];
    const argv = ["chroot", compiler.directory, ...gcc] as const;
    await run(enclosed(argv, { network: false, mapped: !workshop.isRoot }), {
      ...workshop.command,
      env: { PATH: "/usr/bin:/usr/sbin:/bin:/sbin", TMPDIR: "/tmp", SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH) },
    });
    await copyFile(join(place, "program"), program);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}
