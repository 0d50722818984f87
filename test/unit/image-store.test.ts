import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { ImageManifest } from "../../src/image/image.ts";
import { lockStore } from "../../src/image/lock.ts";
import { describeFile, openImageStore, publish, removeUnused } from "../../src/image/store.ts";

const wait = { signal: AbortSignal.timeout(60_000), progress: () => undefined };

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-store-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "verified"));
  return directory;
}

/** Puts an image of small files into the store. */
async function addImage(store: string, name: string, guest = "guests/g1"): Promise<ImageManifest> {
  const paths = {
    kernel: `${guest}/vmlinuz`,
    initramfs: `${guest}/initramfs`,
    root: `${guest}/root.erofs`,
    data: `disks/${name}/data.raw`,
    seal: `${guest}/seal`,
  };
  for (const path of Object.values(paths)) {
    mkdirSync(join(store, dirname(path)), { recursive: true });
    if (!existsSync(join(store, path))) writeFileSync(join(store, path), `contents of ${path}`);
  }
  const file = (path: string) => describeFile(store, path);
  const manifest: ImageManifest = {
    version: 1,
    name,
    recipe: { guest: "1".repeat(64), disk: "2".repeat(64) },
    kernelRelease: "6.1.0-test",
    agentImage: `sha256:${"a".repeat(64)}`,
    builtAt: "2025-01-01T00:00:00Z",
    files: {
      kernel: await file(paths.kernel),
      initramfs: await file(paths.initramfs),
      root: await file(paths.root),
      data: await file(paths.data),
      seal: await file(paths.seal),
    },
    packages: { agent: ["a=1"] },
  };
  await publish(store, manifest);
  return manifest;
}

test("a whole image is found with its paths and one digest over all of it", async () => {
  const store = scratch();
  await addImage(store, "default");
  await addImage(store, "other");
  const images = openImageStore(store);
  const image = await images.find("default");
  expect(image).toMatchObject({
    kernel: join(store, "guests/g1/vmlinuz"),
    data: join(store, "disks/default/data.raw"),
  });
  expect(image.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect((await images.find("other")).digest).not.toBe(image.digest);
  expect((await images.list()).map(({ name }) => name)).toEqual(["default", "other"]);
});

test("what is not there says how to make it", async () => {
  const images = openImageStore(join(scratch(), "nothing"));
  expect(await images.list()).toEqual([]);
  await expect(images.find("default")).rejects.toMatchObject({ code: "IMAGE_MISSING" });
  await expect(images.find("mine")).rejects.toThrow(/image add/);
});

test("a name that leads elsewhere is no image", async () => {
  const store = scratch();
  await addImage(join(store, "outer"), "default").catch(() => undefined);
  for (const name of ["../default", "a/b", "", ".", "..", "A", "x".repeat(65), "nul\0", "/etc/passwd"]) {
    const images = openImageStore(join(store, "inner"));
    await expect(images.find(name), JSON.stringify(name)).rejects.toMatchObject({ code: "IMAGE_MISSING" });
    await expect(images.remove(name, wait)).rejects.toMatchObject({ code: "IMAGE_MISSING" });
  }
});

test("a changed, cut, replaced or missing file is found, whatever its times say", async () => {
  const damage: Record<string, (path: string) => void> = {
    "one byte": (path) => writeFileSync(path, "Contents of guests/g1/root.erofs"),
    "one byte, with the old times": (path) => {
      writeFileSync(path, "Contents of guests/g1/root.erofs");
      utimesSync(path, 1, 1);
    },
    "cut short": (path) => writeFileSync(path, "contents"),
    "a directory": (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    missing: (path) => rmSync(path),
  };
  for (const [what, change] of Object.entries(damage)) {
    const store = scratch();
    const { files } = await addImage(store, "default");
    const images = openImageStore(store);
    await images.find("default");
    change(join(store, files.root.path));
    await expect(images.find("default"), what).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
    // And again: a failed check is not remembered as a good one.
    await expect(images.find("default"), what).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
  }
});

test("a file is hashed again only when it is another one", async () => {
  const store = scratch();
  const { files } = await addImage(store, "default");
  const record = join(store, "verified", files.data.path.replaceAll("/", "_"));
  rmSync(record);
  await openImageStore(store).find("default");
  expect(existsSync(record)).toBe(true);
  // A store that cannot be written is checked every time, and works.
  rmSync(join(store, "verified"), { recursive: true });
  await openImageStore(store).find("default");
});

test("a broken manifest is called corrupt, can be removed, and hides no other image from builds", async () => {
  const store = scratch();
  await addImage(store, "default");
  const other = await addImage(store, "other");
  const images = openImageStore(store);
  const broken = ["", "{", "[]", "{}", JSON.stringify({ ...other, extra: 1 }), JSON.stringify({ ...other, name: "x" })];
  const elsewhere = { ...other, files: { ...other.files, root: { ...other.files.root, path: "guests/../../etc/x" } } };
  for (const text of [...broken, JSON.stringify(elsewhere)]) {
    writeFileSync(join(store, "other.json"), text);
    await expect(images.find("other"), text).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
    await expect(images.list()).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
  }
  await images.remove("other", wait);
  expect((await images.list()).map(({ name }) => name)).toEqual(["default"]);
});

test("removing an image takes its disk, and the machine's part with the last one", async () => {
  const store = scratch();
  await addImage(store, "default");
  await addImage(store, "other");
  const images = openImageStore(store);
  await images.remove("other", wait);
  expect(readdirSync(join(store, "disks"))).toEqual(["default"]);
  expect(readdirSync(join(store, "guests"))).toEqual(["g1"]);
  await images.find("default");
  await images.remove("default", wait);
  expect([...readdirSync(join(store, "disks")), ...readdirSync(join(store, "guests"))]).toEqual([]);
  expect(readdirSync(join(store, "verified"))).toEqual([]);
  await expect(images.remove("default", wait)).rejects.toMatchObject({ code: "IMAGE_MISSING" });
});

test("a superseded machine part goes, one in force stays", async () => {
  const store = scratch();
  await addImage(store, "default");
  await addImage(store, "default", "guests/g2");
  await removeUnused(store);
  expect(readdirSync(join(store, "guests"))).toEqual(["g2"]);
  await openImageStore(store).find("default");
});

test("who comes second waits for the store, says so once, and can be interrupted", async () => {
  const store = scratch();
  const said: string[] = [];
  const first = await lockStore(store, wait);
  const stop = new AbortController();
  const second = lockStore(store, {
    signal: stop.signal,
    progress: (message) => {
      said.push(message);
      stop.abort();
    },
  });
  await expect(second).rejects.toThrow();
  expect(said).toHaveLength(1);
  const released = Promise.withResolvers<void>();
  const third = lockStore(store, { ...wait, progress: () => released.resolve() });
  await released.promise;
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
});

test("a digest in the manifest is what sha256sum prints", async () => {
  const store = scratch();
  const { files } = await addImage(store, "default");
  const expected = createHash("sha256").update("contents of guests/g1/vmlinuz").digest("hex");
  expect(files.kernel.sha256).toBe(expected);
});
