import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { readAddedImage } from "../../src/image/add.ts";
import { openGivenImage } from "../../src/image/archive.ts";
import { readLayout } from "../../src/image/layout.ts";
import { contentOf, readTar, tarStream } from "../../src/image/tar.ts";
import { refuseHiddenDirectories } from "../../src/image/whiteouts.ts";
import {
  ARCHITECTURE,
  configOf,
  dockerFiles,
  type Entry,
  type Files,
  ociFiles,
  tarOf,
  tarOfFiles,
  writeFolder,
} from "../support/image-archive.ts";

const LAYERS = [await tarOfFiles({ "etc/one": "1" }), await tarOfFiles({ "etc/two": "2" })];

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-add-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function file(content: Buffer | string): string {
  const path = join(scratch(), "image.tar");
  writeFileSync(path, content);
  return path;
}

/** Files of the archive that goes on to the engine. */
async function handedOn(path: string): Promise<Map<string, Buffer>> {
  const { archive } = await readAddedImage("mine", path);
  const files = new Map<string, Buffer>();
  const source = tarStream(archive());
  for await (const entry of readTar(source)) {
    files.set(entry.path, await buffer(Readable.from(contentOf(source, entry))));
  }
  return files;
}

const SHAPES: Record<string, () => Promise<string>> = {
  "docker save": async () => file(await tarOfFiles(dockerFiles(LAYERS))),
  "docker save, the manifest last": async () => {
    const { "manifest.json": manifest = "", ...rest } = dockerFiles(LAYERS);
    return file(await tarOfFiles({ ...rest, "manifest.json": manifest }));
  },
  "an OCI archive": async () => file(await tarOfFiles(ociFiles(LAYERS))),
  "an OCI archive with an index in its index": async () => file(await tarOfFiles(ociFiles(LAYERS, { nested: true }))),
  "an OCI folder": async () => writeFolder(scratch(), ociFiles(LAYERS)),
};

test.each(Object.entries(SHAPES))("%s becomes an archive with the image's files and no others", async (_, make) => {
  const path = await make();
  const files = await handedOn(path);
  expect([...files.keys()].sort()).toEqual(["1.tar", "2.tar", "config.json", "manifest.json"]);
  expect(files.get("config.json")?.toString()).toBe(configOf(LAYERS));
  const [manifest] = JSON.parse(files.get("manifest.json")?.toString() ?? "");
  expect(manifest).toEqual({ Config: "config.json", RepoTags: null, Layers: ["1.tar", "2.tar"] });
  const layers = ["1.tar", "2.tar"].map((name) => files.get(name) ?? Buffer.alloc(0));
  expect(layers.map((it) => (it.readUInt16BE(0) === 0x1f8b ? gunzipSync(it) : it))).toEqual(LAYERS);
  // The archive may be opened again: the engine may not be there yet when it is first looked at.
  expect(await handedOn(path)).toEqual(files);
});

test("the digest is the image's, however it is packed", async () => {
  const digests = await Promise.all(
    Object.values(SHAPES).map(async (make) => (await readAddedImage("mine", await make())).digest),
  );
  expect(new Set(digests).size).toBe(1);
  const [first] = LAYERS;
  const other = file(await tarOfFiles(dockerFiles(first ? [first] : [])));
  expect(digests).not.toContain((await readAddedImage("mine", other)).digest);
});

const docker = (changes: Files) => async () => file(await tarOfFiles({ ...dockerFiles(LAYERS), ...changes }));
const oci = (changes: Files) => async () => file(await tarOfFiles({ ...ociFiles(LAYERS), ...changes }));
const entries =
  (...added: Entry[]) =>
  async () => {
    const files = Object.entries(dockerFiles(LAYERS)).map(([name, content]) => ({ name, content }));
    return file(await tarOf([...files, ...added]));
  };
const manifestOf = (value: unknown) => docker({ "manifest.json": JSON.stringify(value) });
const good = { Config: "config.json", Layers: ["layer0/layer.tar", "layer1/layer.tar"] };

const REFUSED: Record<string, [RegExp, () => Promise<string>]> = {
  "nothing at all": [/cannot read/, async () => join(scratch(), "missing")],
  "a device": [/neither a file nor a folder/, async () => "/dev/null"],
  "an empty file": [/ends too early/, async () => file("")],
  text: [/not a whole tar archive/, async () => file("this is no archive\n".repeat(100))],
  "a compressed archive": [
    /not a whole tar archive/,
    async () => file(gzipSync(await tarOfFiles(dockerFiles(LAYERS)))),
  ],
  "an archive of other files": [/manifest\.json/, async () => file(await tarOfFiles({ "etc/passwd": "root" }))],
  "an empty folder": [/empty/, async () => scratch()],
  "no manifest entry": [/exactly one image/, manifestOf([])],
  "two images": [/exactly one image/, manifestOf([good, good])],
  "a manifest of another shape": [/manifest\.json/, manifestOf({ Config: "config.json" })],
  "no layers": [/Layers/, manifestOf([{ ...good, Layers: [] }])],
  "a manifest that is not JSON": [/not JSON/, docker({ "manifest.json": "[" })],
  "a configuration that is missing": [/missing/, manifestOf([{ ...good, Config: "gone.json" }])],
  "a layer that is missing": [/missing/, manifestOf([{ ...good, Layers: ["gone.tar", "layer1/layer.tar"] }])],
  "a layer too few": [/1 layers/, manifestOf([{ ...good, Layers: ["layer0/layer.tar"] }])],
  "another system": [/linux/, docker({ "config.json": configOf(LAYERS, { os: "windows" }) })],
  "another architecture": [/s390x/, docker({ "config.json": configOf(LAYERS, { architecture: "s390x" }) })],
  "a configuration that is too large": [/sensible size/, docker({ "config.json": " ".repeat(5_000_000) })],
  "a path out of the archive": [/outside of itself/, entries({ name: "../../etc/x", content: "x" })],
  "a symbolic link": [/symlink/, entries({ name: "x", type: "symlink", linkname: "/etc/passwd" })],
  "a hard link": [/link/, entries({ name: "x", type: "link", linkname: "config.json" })],
  "a device node": [/character-device/, entries({ name: "x", type: "character-device" })],
  "the same file twice": [/twice/, entries({ name: "config.json", content: "{}" })],
  "an index without images": [/holds 0/, oci({ "index.json": JSON.stringify({ manifests: [] }) })],
  "a manifest of another digest": [
    /does not match its digest|missing|sensible/,
    async () => {
      const files = ociFiles(LAYERS);
      const index = JSON.parse(String(files["index.json"]));
      const path = `blobs/${index.manifests[1].digest.replace(":", "/")}`;
      return file(await tarOfFiles({ ...files, [path]: `${files[path]} ` }));
    },
  ],
};

test.each(Object.entries(REFUSED))("%s is refused with the reason", async (_, [reason, make]) => {
  const reading = readAddedImage("mine", await make());
  await expect(reading).rejects.toMatchObject({ code: "IMAGE_INVALID", message: expect.stringMatching(reason) });
});

test("a link in a folder is refused", async () => {
  const folder = writeFolder(scratch(), ociFiles(LAYERS));
  mkdirSync(join(folder, "x"));
  symlinkSync("/etc", join(folder, "x", "link"));
  await expect(readAddedImage("mine", folder)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
});

test("a layer that is not what its digest says never reaches the engine whole", async () => {
  const files = ociFiles(LAYERS);
  const layer = Object.entries(files).find(([, content]) => Buffer.isBuffer(content))?.[0] ?? "";
  const changed = Buffer.from(files[layer] ?? "");
  changed.writeUInt8(changed.readUInt8(40) ^ 1, 40);
  const path = file(await tarOfFiles({ ...files, [layer]: changed }));
  await expect(handedOn(path)).rejects.toMatchObject({ code: "IMAGE_INVALID", message: /does not match its digest/ });
});

test("an archive that is cut anywhere is refused, or lacks nothing", async () => {
  const whole = await tarOfFiles(dockerFiles(LAYERS));
  const complete = await handedOn(file(whole));
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), async (length) => {
      const result = await handedOn(file(whole.subarray(0, length))).catch((error: unknown) => error);
      if (result instanceof Map) expect(result).toEqual(complete);
      else expect(result).toMatchObject({ code: "IMAGE_INVALID" });
    }),
    { numRuns: 60 },
  );
});

test("an ordinary user cannot add what hides directories of lower layers; files that are removed are no matter", async () => {
  const hiding = await tarOfFiles({ "etc/.wh..wh..opq": "" });
  const removing = await tarOfFiles({ "etc/.wh.one": "" });
  const [base = Buffer.alloc(0)] = LAYERS;
  const check = async (layers: readonly Buffer[], stored = layers) => {
    const files = { ...dockerFiles(layers) };
    stored.forEach((it, index) => {
      files[`layer${index}/layer.tar`] = it;
    });
    const image = await openGivenImage(file(await tarOfFiles(files)));
    await refuseHiddenDirectories(image, await readLayout(image, ARCHITECTURE));
  };
  await check([base, removing]);
  await check([hiding]);
  for (const packed of [hiding, gzipSync(hiding), zstdCompressSync(hiding)]) {
    await expect(check([base, hiding], [base, packed])).rejects.toMatchObject({
      code: "IMAGE_INVALID",
      message: /etc/,
    });
  }
});
