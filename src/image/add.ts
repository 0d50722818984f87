import { createHash } from "node:crypto";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Pack, pack } from "tar-stream";
import { GatewayError } from "../errors.ts";
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
  return { name, digest: digestOf(config.toString("base64")), archive: () => archiveOf(image, layout) };
}

function archiveOf(image: GivenImage, layout: ImageLayout): Readable {
  const archive = pack();
  writeArchive(image, layout, archive).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new GatewayError("IMAGE_INVALID"));
  });
  // tar-stream's own stream class: Node's adapter gives it backpressure and errors as the rest of the code knows them.
  return Readable.from(archive);
}

async function writeArchive(image: GivenImage, layout: ImageLayout, archive: Pack): Promise<void> {
  // Names of our own: whatever the archive calls its files, the engine sees none of it.
  const paths = [...new Set([layout.config, ...layout.layers])];
  const names = new Map(paths.map((path, index) => [path, index === 0 ? "config.json" : `${index}.tar`]));
  const nameOf = (path: string) => names.get(path) ?? "";
  const manifest = [{ Config: nameOf(layout.config), RepoTags: null, Layers: layout.layers.map(nameOf) }];
  archive.entry({ name: "manifest.json" }, JSON.stringify(manifest));
  for await (const file of image.contents(new Set(paths))) {
    await pipeline(file.body, checked(file, layout), archive.entry({ name: nameOf(file.path), size: file.size }));
  }
  archive.finalize();
}

function checked({ path }: GivenFile, { digests }: ImageLayout): Transform {
  const hash = createHash("sha256");
  const expected = digests.get(path);
  return new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
    flush(done) {
      const fits = expected === undefined || hash.digest("hex") === expected;
      done(
        fits
          ? null
          : new GatewayError("IMAGE_INVALID", `the image cannot be used: \`${path}\` does not match its digest`),
      );
    },
  });
}
