import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readAddedImage } from "../../src/image/add.ts";
import { cpio, DIRECTORY, REGULAR } from "../../src/image/cpio.ts";
import { packageOfArchive } from "../../src/image/debian.ts";
import type { ImageManifest } from "../../src/image/image.ts";
import { chooseMirror } from "../../src/image/mirror.ts";
import { dependsOn, loadOrder } from "../../src/image/modules.ts";
import { chooseKernel, hostArchitecture, readRecipe } from "../../src/image/recipe.ts";
import { openImageStore, publish } from "../../src/image/store.ts";

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-image-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const sha256 = (content: string) => createHash("sha256").update(content).digest("hex");

async function store(): Promise<string> {
  const directory = scratch();
  for (const name of ["guests/g", "disks/d", "verified"]) mkdirSync(join(directory, name), { recursive: true });
  const file = (path: string, content: string) => {
    writeFileSync(join(directory, path), content);
    return { path, sizeBytes: content.length, sha256: sha256(content) };
  };
  const manifest: ImageManifest = {
    version: 1,
    name: "default",
    recipe: { guest: sha256("r"), disk: sha256("d") },
    kernelRelease: "6.1.0",
    agentImage: `sha256:${sha256("i")}`,
    builtAt: new Date(0).toISOString(),
    files: {
      kernel: file("guests/g/vmlinuz", "kernel"),
      initramfs: file("guests/g/initramfs", "initramfs"),
      root: file("guests/g/root.erofs", "root"),
      data: file("disks/d/data.raw", "data"),
    },
    packages: {},
  };
  await publish(directory, manifest);
  return directory;
}

test("an image is found when every file is what its manifest says, again after a look that was kept", async () => {
  const directory = await store();
  const images = openImageStore(directory);
  const first = await images.find("default");
  expect(first.kernel).toBe(join(directory, "guests/g/vmlinuz"));
  expect(await images.find("default")).toEqual(first);
  await expect(images.find("other")).rejects.toMatchObject({ code: "IMAGE_MISSING" });
});

test.each([
  ["a changed byte", (d: string) => writeFileSync(join(d, "guests/g/vmlinuz"), "kernex")],
  ["another size", (d: string) => writeFileSync(join(d, "disks/d/data.raw"), "data and more")],
  ["a missing file", (d: string) => rmSync(join(d, "guests/g/initramfs"))],
  ["a broken manifest", (d: string) => writeFileSync(join(d, "default.json"), "{}")],
])("%s is corruption, also after the image was found whole", async (_, damage) => {
  const directory = await store();
  await openImageStore(directory).find("default");
  damage(directory);
  await expect(openImageStore(directory).find("default")).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
});

test("a manifest cannot lead out of the store", async () => {
  const directory = await store();
  const text = readFileSync(join(directory, "default.json"), "utf8");
  writeFileSync(join(directory, "default.json"), text.replace("guests/g/vmlinuz", "guests/../../etc/passwd"));
  await expect(openImageStore(directory).find("default")).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
});

test("removing the last image that uses them removes the files", async () => {
  const directory = await store();
  await openImageStore(directory).remove("default", {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
  expect(await openImageStore(directory).list()).toEqual([]);
  await expect(
    openImageStore(directory).remove("default", { signal: new AbortController().signal, progress: () => undefined }),
  ).rejects.toMatchObject({ code: "IMAGE_MISSING" });
});

test("an initramfs is the same bytes for the same contents, in the kernel's format", () => {
  const entries = [
    { path: "dev", mode: DIRECTORY | 0o755 },
    { path: "init", mode: REGULAR | 0o755, content: Buffer.from("abc") },
  ];
  const archive = cpio(entries);
  expect(cpio(entries).equals(archive)).toBe(true);
  expect(archive.subarray(0, 6).toString()).toBe("070701");
  expect(archive.length % 4).toBe(0);
  expect(archive.includes("TRAILER!!!")).toBe(true);
});

test("modules are loaded after what they need; a missing one is an error unless it may be missing", async () => {
  const needs: Record<string, string> = { a: "b,c-d", b: "c_d", c_d: "" };
  const kernel = {
    loadable: new Set(Object.keys(needs)),
    builtin: new Set(["x"]),
    read: async (name: string) => Buffer.from(`\0name=${name}\0depends=${needs[name]}\0`),
  };
  expect(dependsOn(await kernel.read("a"))).toEqual(["b", "c_d"]);
  expect((await loadOrder(["a", "x", "gone?"], kernel)).map((it) => it.name)).toEqual(["c_d", "b", "a"]);
  await expect(loadOrder(["gone"], kernel)).rejects.toMatchObject({ code: "IMAGE_BUILD_FAILED" });
});

test("the kernel follows the version of QEMU", async () => {
  const recipe = await readRecipe(join(import.meta.dirname, "..", "..", "guest"));
  const arch = hostArchitecture();
  expect(chooseKernel(recipe, arch, 7).suite).toBe("bookworm");
  expect(chooseKernel(recipe, arch, 10).suite).toBe("trixie");
  expect(chooseKernel(recipe, arch, undefined).suite).toBe("trixie");
});

test("the mirror is Debian's own among the archives that the host uses", () => {
  const targets = [
    "https://third.example/apt|bookworm|main|Third",
    "http://debian.example/debian|bookworm|main|Debian",
    "http://security.example/|bookworm-security|main|Debian",
    "http://debian.example/debian|bookworm|contrib|Debian",
  ].join("\n");
  expect(chooseMirror(targets, "bookworm")).toEqual({
    archive: "http://debian.example/debian",
    security: "http://security.example/",
  });
  expect(chooseMirror("https://third.example/apt|bookworm|main|Third", "bookworm")).toBeUndefined();
  expect(packageOfArchive("var/cache/apt/archives/git_1%3a2.47_amd64.deb")).toBe("git=1:2.47");
});

test("what is no image archive is refused before anything is built", async () => {
  const directory = scratch();
  const text = join(directory, "text.tar");
  writeFileSync(text, "this is no archive at all".repeat(100));
  const folder = join(directory, "folder");
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  for (const path of [text, folder, join(directory, "missing"), "/dev/null"]) {
    await expect(readAddedImage("x", path)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
  }
});
