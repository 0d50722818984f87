import fc from "fast-check";
import { expect, test } from "vitest";
import { CHARACTER_DEVICE, cpio, DIRECTORY, REGULAR } from "../../src/image/cpio.ts";
import { dynamicNeeds } from "../../src/image/elf.ts";
import { dependsOn, type KernelModules, loadOrder, moduleName } from "../../src/image/modules.ts";

/** Reads `newc` as the kernel's `init/initramfs.c` does. */
function readCpio(archive: Buffer) {
  const entries = [];
  for (let at = 0; ; ) {
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const field = (index: number) =>
      Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const nameLength = field(11);
    const path = archive.toString("utf8", at + 110, at + 110 + nameLength - 1);
    expect(archive[at + 110 + nameLength - 1]).toBe(0);
    const start = (at + 110 + nameLength + 3) & ~3;
    if (path === "TRAILER!!!") return { entries, end: start };
    const content = archive.subarray(start, start + field(6));
    entries.push({ path, mode: field(1), uid: field(2), mtime: field(5), device: [field(9), field(10)], content });
    at = (start + field(6) + 3) & ~3;
  }
}

test("an initramfs reads back as it was written, with fixed owners and times", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9/_.-]{0,40}$/);
  const file = fc.record({ path: name, content: fc.uint8Array({ maxLength: 300 }).map((it) => Buffer.from(it)) });
  fc.assert(
    fc.property(fc.array(file), (files) => {
      const archive = cpio([
        { path: "dev", mode: DIRECTORY | 0o755 },
        { path: "dev/console", mode: CHARACTER_DEVICE | 0o600, device: [5, 1] },
        ...files.map((it) => ({ ...it, mode: REGULAR | 0o644 })),
      ]);
      const { entries, end } = readCpio(archive);
      expect(end).toBe(archive.length);
      expect(entries.slice(2).map(({ path, content }) => ({ path, content: Buffer.from(content) }))).toEqual(files);
      expect(entries[1]).toMatchObject({ path: "dev/console", mode: 0o020600, device: [5, 1] });
      expect(entries.every(({ uid, mtime }) => uid === 0 && mtime === 0)).toBe(true);
    }),
  );
});

function kernelOf(needs: Record<string, readonly string[]>, builtin: readonly string[] = []): KernelModules {
  return {
    loadable: new Set(Object.keys(needs)),
    builtin: new Set(builtin),
    read: async (name) => Buffer.from(`\x7fELF\0license=GPL\0depends=${(needs[name] ?? []).join(",")}\0name=${name}\0`),
  };
}

test("modules are loaded after what they need, each once", async () => {
  const kernel = kernelOf({ virtio_blk: ["virtio", "virtio_ring"], virtio: ["virtio_ring"], virtio_ring: [] }, [
    "libcrc32c",
  ]);
  const names = async (wanted: readonly string[]) => (await loadOrder(wanted, kernel)).map(({ name }) => name);
  expect(await names(["virtio_blk", "virtio"])).toEqual(["virtio_ring", "virtio", "virtio_blk"]);
  expect(await names(["virtio-blk"])).toEqual(["virtio_ring", "virtio", "virtio_blk"]);
  expect(await names(["libcrc32c", "vmgenid?"])).toEqual([]);
  await expect(names(["vmgenid"])).rejects.toMatchObject({ code: "IMAGE_BUILD_FAILED" });
});

test("any graph of modules is put in an order that loads", async () => {
  const graph = fc.array(fc.array(fc.nat(20), { maxLength: 4 }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(graph, async (edges) => {
      // A module needs only ones of lower numbers: depmod never makes circles.
      const needs = Object.fromEntries(
        edges.map((to, from) => [`m${from}`, [...new Set(to.filter((it) => it < from).map((it) => `m${it}`))]]),
      );
      const order = (await loadOrder(Object.keys(needs).reverse(), kernelOf(needs))).map(({ name }) => name);
      expect([...order].sort()).toEqual(Object.keys(needs).sort());
      for (const [name, before] of Object.entries(needs)) {
        for (const need of before) expect(order.indexOf(need)).toBeLessThan(order.indexOf(name));
      }
    }),
  );
});

test("names of modules are compared as the kernel compares them", () => {
  expect(moduleName("kernel/drivers/char/hw_random/virtio-rng.ko.xz")).toBe("virtio_rng");
  expect(dependsOn(Buffer.from("\0depends=a-b,c\0x"))).toEqual(["a_b", "c"]);
  expect(dependsOn(Buffer.from("\0depends=\0"))).toEqual([]);
  expect(dependsOn(Buffer.from("no such field"))).toEqual([]);
});

test.runIf(process.platform === "linux")("what a program needs is read from the program itself", async () => {
  const { interpreter, libraries } = await dynamicNeeds(process.execPath);
  expect(interpreter).toMatch(/^\/lib.*\/ld-/);
  expect(libraries.some((it) => it.startsWith("libc.so"))).toBe(true);
  await expect(dynamicNeeds(import.meta.filename)).rejects.toMatchObject({ code: "IMAGE_BUILD_FAILED" });
});
