import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { GatewayError } from "../errors.ts";
import { encodeTar, plainHeader, type TarInput } from "../lib/tar-write.ts";
import { type GivenFile, type GivenImage, openGivenImage } from "./archive.ts";
import type { AddedImage } from "./build.ts";
import { type ImageLayout, readLayout } from "./layout.ts";
import { digestOf, hostArchitecture } from "./recipe.ts";
import { refuseHiddenDirectories } from "./whiteouts.ts";

/**
 * An organisation's own agent image: what `docker save` wrote, or an OCI layout as an archive or a folder. What goes on to the engine
 * is an archive of our own with exactly the files of the one image; each is checked against its digest on the way, and the engine
 * checks what it unpacks against the configuration.
 * @throws GatewayError IMAGE_INVALID
 */
export async function readAddedImage(name: string, path: string): Promise<AddedImage> {
  const image = await openGivenImage(path);
  const layout = await readLayout(image, hostArchitecture().debian);
  if (process.getuid?.() !== 0) await refuseHiddenDirectories(image, layout);
  // The configuration names the digest of every layer's contents: it tells one image from another.
  const config = await image.read(layout.config);
  return { name, digest: digestOf(config.toString("base64")), archive: () => Readable.from(archiveOf(image, layout)) };
}

function archiveOf(image: GivenImage, layout: ImageLayout): AsyncGenerator<Buffer> {
  // Names of our own: whatever the archive calls its files, the engine sees none of it.
  const paths = [...new Set([layout.config, ...layout.layers])];
  const names = new Map(paths.map((path, index) => [path, index === 0 ? "config.json" : `${index}.tar`]));
  const nameOf = (path: string) => names.get(path) ?? "";
  const text = JSON.stringify([{ Config: nameOf(layout.config), RepoTags: null, Layers: layout.layers.map(nameOf) }]);
  const manifest = { ...plainHeader("manifest.json", { size: text.length }), content: [Buffer.from(text)] };
  const files = paths.map((path) => image.files.get(path)).filter((it) => it !== undefined);
  const entries = files.map(
    (file): TarInput => ({
      ...plainHeader(nameOf(file.path), { size: file.size }),
      content: checked(file, layout.digests.get(file.path)),
    }),
  );
  return encodeTar([manifest, ...entries]);
}

async function* checked(file: GivenFile, expected: string | undefined): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  for await (const piece of file.open()) {
    hash.update(piece);
    yield piece;
  }
  if (expected === undefined || hash.digest("hex") === expected) return;
  throw new GatewayError("IMAGE_INVALID", `the image cannot be used: \`${file.path}\` does not match its digest`);
}
