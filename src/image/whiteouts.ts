import type { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { extract } from "tar-stream";
import { GatewayError } from "../errors.ts";
import type { GivenImage } from "./archive.ts";
import type { ImageLayout } from "./layout.ts";

const GZIP = 0x1f8b;
const ZSTD = 0x28b5;
const OPAQUE = /(^|\/)\.wh\.\.wh\.\.opq$/;

/**
 * Refuses an image with a layer that hides a directory of the ones below it. The mark for that on a disk is an attribute which only
 * the real root may set: an ordinary user's disk would show the agent files that the image's author had removed.
 * @throws GatewayError IMAGE_INVALID
 */
export async function refuseHiddenDirectories(image: GivenImage, { layers }: ImageLayout): Promise<void> {
  if (layers.length < 2) return;
  for await (const { path, body } of image.contents(new Set(layers))) {
    const entries = extract();
    const tar = await decompressed(body);
    tar.once("error", (error) => entries.destroy(error));
    tar.pipe(entries);
    try {
      for await (const entry of entries) {
        if (OPAQUE.test(entry.header.name)) throw hidden(entry.header.name);
        entry.resume();
      }
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause;
      throw new GatewayError("IMAGE_INVALID", `the image cannot be used: the layer \`${path}\` is not a tar archive`, {
        cause,
      });
    }
  }
}

async function decompressed(body: Readable): Promise<Readable> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | null>();
  body.once("error", reject);
  body.once("readable", () => resolve(body.read()));
  const start = await promise;
  if (start) body.unshift(start);
  const magic = start && start.length >= 2 ? start.readUInt16BE(0) : 0;
  const decoder = magic === GZIP ? createGunzip() : magic === ZSTD ? createZstdDecompress() : undefined;
  if (!decoder) return body;
  body.once("error", (error) => decoder.destroy(error));
  return body.pipe(decoder);
}

function hidden(name: string): GatewayError {
  const where = name.slice(0, name.lastIndexOf("/"));
  const why = `a layer replaces the directory \`${where}\` of those below, which only root can put onto a disk`;
  return new GatewayError("IMAGE_INVALID", `${why}: add the image as root, or squash it to one layer`);
}
