import { execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig, PACKAGE_ROOT } from "../../src/config.ts";
import { readAddedImage } from "../../src/image/add.ts";
import { buildImage } from "../../src/image/build.ts";
import type { ImageManifest } from "../../src/image/image.ts";
import { openImageStore } from "../../src/image/store.ts";
import { ENTRY } from "../support/gateway.ts";
import { ociFiles, tarOf, writeFolder } from "../support/image-archive.ts";
import { openTestSandbox } from "../support/machine.ts";

const BUILT = loadConfig({}, process.env).imageDirectory;
const SOURCES = join(PACKAGE_ROOT, "guest");

/** A data directory beside the real one: stages of the real store are used and nothing is downloaded. */
function scratch({ withStages = true } = {}): string {
  const directory = mkdtempSync(join(dirname(BUILT), "test-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "images"));
  if (withStages) symlinkSync(join(BUILT, "cache"), join(directory, "images", "cache"));
  return directory;
}

async function builtImage(): Promise<ImageManifest> {
  const image = (await openImageStore(BUILT).list()).find(({ name }) => name === "default");
  if (!image) throw new Error("the default image is not built");
  return image;
}

/** The one that QEMU chose when the real store was built. */
const qemuMajorOf = ({ kernelRelease }: ImageManifest) => (kernelRelease.startsWith("6.1.") ? 7 : 10);

const options = (directory: string, image: ImageManifest, said: string[] = []) => ({
  directory: join(directory, "images"),
  sources: SOURCES,
  force: false,
  qemuMajor: qemuMajorOf(image),
  signal: AbortSignal.timeout(170_000),
  progress: (message: string) => said.push(message),
});

test("the tests of the guest agent pass, with the compiler that images are built with", async () => {
  const goroot = join(stage("toolchain"), "usr", "lib", "go-1.24");
  // Sources and cache of its own: what other builds leave or write meanwhile says nothing about these files.
  const directory = scratch({ withStages: false });
  const agent = join(directory, "agent");
  cpSync(join(SOURCES, "agent"), agent, { recursive: true });
  const settings = { GOENV: "off", GOWORK: "off", GOTOOLCHAIN: "local", GOPROXY: "off", CGO_ENABLED: "0" };
  const env = { GOROOT: goroot, GOCACHE: join(directory, "go-build"), PATH: "/nonexistent", ...settings };
  for (const command of ["vet", "test"]) {
    execFileSync(join(goroot, "bin", "go"), [command, "."], { cwd: agent, env, encoding: "utf8" });
  }
});

test("the machine's root holds the engine, its libraries and two programs of ours: no shell, nothing set-uid", async () => {
  const { root } = await openImageStore(BUILT).find("default");
  const directory = join(scratch(), "root");
  execFileSync("fsck.erofs", [`--extract=${directory}`, root]);
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((it) => it.isFile() && !it.parentPath.startsWith(join(directory, "var", "run")))
    .map((it) => relative(directory, join(it.parentPath, it.name)));
  const programs = files.filter((it) => /^usr\/(s?bin|libexec)\//.test(it)).sort();
  expect(programs).toEqual([
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/crun",
    "usr/bin/docker-init",
    "usr/libexec/glovebox/inside",
    "usr/libexec/glovebox/runner",
    "usr/sbin/dockerd",
  ]);
  const others = files.filter(
    (it) => !programs.includes(it) && !/^usr\/lib(64)?\/([\w-]+\/)?[\w-]+\.so[\w.]*$/.test(it),
  );
  expect(others.filter((it) => !/^(bin|sbin|lib|lib64)\//.test(it)).sort()).toEqual([
    "etc/group",
    "etc/hosts",
    "etc/nsswitch.conf",
    "etc/passwd",
  ]);
  for (const file of files) expect(statSync(join(directory, file)).mode & 0o6022, file).toBe(0);
});

test("the data disk is whole and holds one image, which nobody but the engine's root can reach", async () => {
  const { data } = await openImageStore(BUILT).find("default");
  execFileSync("e2fsck", ["-f", "-n", data]);
  const names = execFileSync("debugfs", ["-R", "ls -p /", data], { encoding: "utf8", stdio: "pipe" })
    .split("\n")
    .map((line) => line.split("/")[5] ?? "");
  expect(names.filter((it) => it && !it.startsWith(".")).sort()).toEqual(["image", "lost+found", "overlay2"]);
  expect(statSync(data).mode & 0o777).toBe(0o444);
});

test("building again is the same bytes; an image is added, booted and removed; a newer machine part serves it too", {
  timeout: 400_000,
}, async () => {
  const built = await builtImage();
  const directory = scratch();
  const store = openImageStore(join(directory, "images"));
  // A static program that every store has: the layer above removes one file of the layer below and adds another.
  const program = readFileSync(join(stage("engine"), "usr", "bin", "docker-init"));
  const lower = await tarOf([
    { name: "bin/program", mode: 0o4755, content: program },
    { name: "removed", content: "secret" },
  ]);
  const upper = await tarOf([{ name: ".wh.removed" }, { name: "workspace/kept", content: "kept" }]);
  const archive = writeFolder(join(directory, "layout"), ociFiles([lower, upper]));
  const said: string[] = [];
  const added = await buildImage(options(directory, built, said), await readAddedImage("mine", archive));
  expect(said.at(-1)).toMatch(/^step (\d+) of \1:/);

  expect(added.files.kernel.sha256).toBe(built.files.kernel.sha256);
  expect(added.files.initramfs.sha256).toBe(built.files.initramfs.sha256);
  expect(added.files.root.sha256).toBe(built.files.root.sha256);

  // Nothing to do the second time.
  said.length = 0;
  expect(await buildImage(options(directory, built, said), await readAddedImage("mine", archive))).toEqual(added);
  expect(said).toEqual([]);

  const before = process.env["GLOVEBOX_DATA_DIR"];
  process.env["GLOVEBOX_DATA_DIR"] = directory;
  try {
    await using sandbox = await openTestSandbox({ image: "mine" });
    const signal = AbortSignal.timeout(120_000);
    const kept = await sandbox.container.readFile("/workspace/kept", 100, signal);
    expect(kept.toString()).toBe("kept");
    await expect(sandbox.container.readFile("/removed", 100, signal)).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
  } finally {
    if (before === undefined) delete process.env["GLOVEBOX_DATA_DIR"];
    else process.env["GLOVEBOX_DATA_DIR"] = before;
  }

  await store.remove("mine", { signal: AbortSignal.timeout(60_000), progress: () => undefined });
  expect(readdirSync(join(directory, "images", "disks"))).toEqual([]);
});

/** The directory of a finished stage of the real store. */
function stage(name: string): string {
  const found = readdirSync(join(BUILT, "cache")).find((it) => it.startsWith(`${name}-`));
  if (!found) throw new Error(`the store has no stage \`${name}\``);
  return join(BUILT, "cache", found);
}

interface Build extends AsyncDisposable {
  readonly pid: number;
  /** Resolves when the build has said something that matches. */
  said(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{ code: number | null; stderr: string }>;
}

/** `glovebox image build` in a process of its own, with nothing cached. */
function startBuild(directory: string): Build {
  const env = { ...process.env, GLOVEBOX_DATA_DIR: directory };
  const child = spawn(process.execPath, [ENTRY, "image", "build"], { env, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.once("close", (code) => resolve({ code, stderr }));
  });
  return {
    pid: child.pid ?? 0,
    ended,
    said: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => pattern.test(stderr) && resolve();
        child.stderr.on("data", look);
        child.once("close", () => reject(new Error(`ended before it said ${pattern}: ${stderr}`)));
        look();
      }),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Command lines of processes that still work on a store. */
function workersOf(directory: string): string[] {
  const lines = readdirSync("/proc")
    .filter((it) => /^\d+$/.test(it) && Number(it) !== process.pid)
    .map((pid) => (existsSync(`/proc/${pid}/cmdline`) ? read(`/proc/${pid}/cmdline`) : ""));
  return lines.filter((it) => it.includes(directory));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it ended meanwhile
  }
}

async function noWorkers(directory: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (workersOf(directory).length > 0 && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 50));
  expect(workersOf(directory)).toEqual([]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(directory);
}

const leftovers = (directory: string) =>
  readdirSync(join(directory, "images")).filter(
    (it) => it.startsWith("build-") && it !== "build.lock" && it !== "build.log",
  );

test("an interrupted build ends with all that it started and leaves nothing half made", async () => {
  const directory = scratch({ withStages: false });
  await using build = startBuild(directory);
  await build.said(/step 1 of/);
  await untilWorking(directory);
  process.kill(build.pid, "SIGINT");
  const { code, stderr } = await build.ended;
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/CANCELLED/);
  expect(leftovers(directory)).toEqual([]);
  expect(readdirSync(join(directory, "images", "cache"))).toEqual([]);
  await noWorkers(directory);
  expect(await openImageStore(join(directory, "images")).list()).toEqual([]);
});

test("a killed build takes its programs with it, and the next one clears up and does not wait", async () => {
  const directory = scratch({ withStages: false });
  {
    await using build = startBuild(directory);
    await build.said(/step 1 of/);
    await untilWorking(directory);
    process.kill(build.pid, "SIGKILL");
    await build.ended;
  }
  await noWorkers(directory);
  const dead = leftovers(directory);
  expect(dead).toHaveLength(1);
  await using next = startBuild(directory);
  await next.said(/step 1 of/);
  await untilWorking(directory);
  expect(leftovers(directory)).not.toContain(dead[0]);
  process.kill(next.pid, "SIGTERM");
  expect((await next.ended).stderr).not.toMatch(/waiting/);
});

/** Waits until the package tools are at work: there is something to end. */
async function untilWorking(directory: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  const isWorking = () => workersOf(directory).some((it) => it.includes("mmdebstrap"));
  while (!isWorking()) {
    if (Date.now() > deadline) throw new Error("mmdebstrap was not started");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("a store that cannot be made is one clear error", async () => {
  const directory = scratch();
  writeFileSync(join(directory, "file"), "");
  const image = await builtImage();
  const building = buildImage({ ...options(directory, image), directory: join(directory, "file", "images") });
  await expect(building).rejects.toMatchObject({ code: "STATE_UNWRITABLE" });
});
