import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { packageOfArchive, packagesOfStatus } from "../../src/image/debian.ts";
import { chooseMirror, sourcesOf } from "../../src/image/mirror.ts";
import { type Architecture, chooseKernel, digestRecipe, readRecipe, sourceFiles } from "../../src/image/recipe.ts";

const GUEST = join(import.meta.dirname, "..", "..", "guest");
const AMD64: Architecture = { debian: "amd64", triplet: "x86_64-linux-gnu" };
const ARM64: Architecture = { debian: "arm64", triplet: "aarch64-linux-gnu" };

/** A copy of `guest/` that a test may change. */
function copyOfGuest(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-guest-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(GUEST, directory, { recursive: true });
  return directory;
}

async function digests(directory: string, arch = AMD64, qemuMajor = 10) {
  const recipe = await readRecipe(directory);
  return digestRecipe(directory, recipe, arch, chooseKernel(recipe, arch, qemuMajor));
}

test("the kernel follows the version of QEMU and the architecture", async () => {
  const recipe = await readRecipe(GUEST);
  expect(chooseKernel(recipe, AMD64, 7)).toEqual({ package: "linux-image-cloud-amd64", suite: "bookworm" });
  expect(chooseKernel(recipe, AMD64, 9)).toEqual({ package: "linux-image-cloud-amd64", suite: "bookworm" });
  expect(chooseKernel(recipe, ARM64, 10)).toEqual({ package: "linux-image-cloud-arm64", suite: "trixie" });
  expect(chooseKernel(recipe, AMD64, undefined)).toEqual({ package: "linux-image-cloud-amd64", suite: "trixie" });
});

test("a misspelt key in the recipe is refused by name", async () => {
  const directory = copyOfGuest();
  const file = join(directory, "recipe.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace("reservedPercent", "reservdPercent"));
  await expect(readRecipe(directory)).rejects.toMatchObject({
    code: "IMAGE_BUILD_FAILED",
    message: expect.stringContaining("reservdPercent"),
  });
});

test("the digests change with what they stand for, and with nothing else", async () => {
  const directory = copyOfGuest();
  const before = await digests(directory);
  expect(await digests(directory)).toEqual(before);

  writeFileSync(join(directory, "README.md"), "other words");
  writeFileSync(join(directory, "agent", "new_test.go"), "package main\n");
  expect(await digests(directory)).toEqual(before);

  writeFileSync(join(directory, "agent", "new.go"), "package main\n");
  const after = await digests(directory);
  expect(after.guest).not.toBe(before.guest);
  expect({ ...after, guest: "" }).toEqual({ ...before, guest: "" });

  const older = await digests(directory, AMD64, 7);
  expect(older.kernel).not.toBe(after.kernel);
  expect(older.engine).toBe(after.engine);
  expect((await digests(directory, ARM64)).engine).not.toBe(after.engine);
});

test("only sources of the named parts are counted", async () => {
  const files = await sourceFiles(GUEST, ["agent", "mke2fs.conf"]);
  expect(files).toContain("agent/main.go");
  expect(files).toContain("mke2fs.conf");
  expect(files.filter((it) => it.endsWith("_test.go") || it.startsWith("inside/"))).toEqual([]);
});

test("the mirror is the one that apt uses; third parties that call themselves alike come second", () => {
  const targets = [
    "https://third.example/apt/|bookworm|main|",
    "https://vendor.example/|bookworm|main|Vendor",
    "http://archive.example/debian/|bookworm|main|Debian",
    "http://archive.example/debian/|bookworm|contrib|Debian",
    "http://archive.example/debian-security/|bookworm-security|main|Debian",
  ].join("\n");
  expect(chooseMirror(targets, "bookworm")).toEqual({
    archive: "http://archive.example/debian/",
    security: "http://archive.example/debian-security/",
  });
  // Before the first `apt-get update` nobody has an origin.
  const bare = "http://archive.example/debian/|bookworm|main|\n";
  expect(chooseMirror(bare, "bookworm")).toEqual({ archive: "http://archive.example/debian/", security: undefined });
  expect(chooseMirror(targets, "trixie")).toBeUndefined();
  expect(chooseMirror("", "bookworm")).toBeUndefined();
  expect(chooseMirror("https://vendor.example/|bookworm|main|Vendor", "bookworm")).toBeUndefined();
});

test("packages come from the suite, its updates and its security archive, checked against Debian's keys", () => {
  const mirror = { archive: "http://a/debian/", security: "http://a/security/", aptOptions: [], keyring: "/keys.gpg" };
  expect(sourcesOf(mirror, "trixie")).toEqual([
    "deb [signed-by=/keys.gpg] http://a/debian/ trixie main",
    "deb [signed-by=/keys.gpg] http://a/debian/ trixie-updates main",
    "deb [signed-by=/keys.gpg] http://a/security/ trixie-security main",
  ]);
  expect(sourcesOf({ ...mirror, security: undefined }, "trixie")).toHaveLength(2);
});

test("packages and versions are read from archives' names and from dpkg's status", () => {
  expect(packageOfArchive("var/cache/apt/archives/crun_1.21-1_amd64.deb")).toBe("crun=1.21-1");
  expect(packageOfArchive("var/cache/apt/archives/docker.io_26.1.5%2bdfsg1_amd64.deb")).toBe("docker.io=26.1.5+dfsg1");
  expect(packageOfArchive("var/cache/apt/archives/git_1%3a2.47.3-0_amd64.deb")).toBe("git=1:2.47.3-0");
  expect(packageOfArchive("usr/bin/crun")).toBeUndefined();
  expect(packagesOfStatus("Package: b\nStatus: ok\nVersion: 2\n\nPackage: a\nVersion: 1:1\n")).toEqual([
    "a=1:1",
    "b=2",
  ]);
});
