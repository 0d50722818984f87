import { createGunzip, createZstdDecompress } from "node:zlib";
import { GatewayError } from "../errors.ts";
import type { GivenFile, GivenImage } from "./archive.ts";
import type { ImageLayout } from "./layout.ts";
import { readTar, tarStream } from "./tar.ts";

const GZIP = Buffer.from("1f8b", "hex");
const ZSTD = Buffer.from("28b52ffd", "hex");
const OPAQUE = /(^|\/)\.wh\.\.wh\.\.opq$/;

/**
 * Refuses an image with a layer that hides a directory of the ones below it. The mark for that on a disk is an attribute which only
 * the real root may set: an ordinary user's disk would show the agent files that the image's author had removed.
 * @throws GatewayError IMAGE_INVALID
 */
export async function refuseHiddenDirectories(image: GivenImage, { layers }: ImageLayout): Promise<void> {
  for (const path of layers.slice(1)) {
    const layer = image.files.get(path);
    if (!layer) continue;
    for await (const entry of readTar(tarStream(decompressed(layer)))) {
      if (OPAQUE.test(entry.path)) throw hidden(entry.path);
    }
  }
}

async function* decompressed(layer: GivenFile): AsyncGenerator<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  for await (const piece of layer.open()) {
    start = piece;
    break;
  }
  const isKind = (magic: Buffer) => start.subarray(0, magic.length).equals(magic);
  const decoder = isKind(GZIP) ? createGunzip() : isKind(ZSTD) ? createZstdDecompress() : undefined;
  const source = layer.open();
  try {
    yield* decoder ? source.on("error", (error) => decoder.destroy(error)).pipe(decoder) : source;
  } catch (cause) {
    throw new GatewayError("IMAGE_INVALID", `the layer \`${layer.path}\` cannot be decompressed`, { cause });
  } finally {
    source.destroy();
  }
}

function hidden(name: string): GatewayError {
  const where = name.slice(0, name.lastIndexOf("/"));
  const why = `a layer replaces the directory \`${where}\` of those below, which only root can put onto a disk`;
  return new GatewayError("IMAGE_INVALID", `${why}: add the image as root, or squash it to one layer`);
}
