import { createHash } from "node:crypto";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { GivenImage } from "./archive.ts";

/** The files that make up the one image in an archive. */
export interface ImageLayout {
  readonly config: string;
  /** Lowest first. */
  readonly layers: readonly string[];
  /** `sha256` in hex that a file's content must have, where the archive's format says so. */
  readonly digests: ReadonlyMap<string, string>;
}

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
// Formats that others extend: keys that are not ours to know are passed over.
const dockerManifestSchema = z
  .array(z.object({ Config: z.string(), Layers: z.array(z.string()).min(1).max(512) }))
  .length(1, "must hold exactly one image");
const platformSchema = z.object({ os: z.string(), architecture: z.string() });
const descriptorSchema = z.object({ mediaType: z.string(), digest, platform: platformSchema.optional() });
const indexSchema = z.object({ manifests: z.array(descriptorSchema).max(64) });
const manifestSchema = z.object({ config: descriptorSchema, layers: z.array(descriptorSchema).min(1).max(512) });
const configSchema = z.object({
  os: z.literal("linux", "must be `linux`"),
  architecture: z.string(),
  rootfs: z.object({ diff_ids: z.array(digest) }),
});
const INDEX_TYPE = /\.(image\.index|manifest\.list)\./;
const LAYER_TYPE = /\.(tar|tar\+gzip|tar\+zstd|tar\.gzip)$/;

/**
 * Finds the one image in a `docker save` archive or an OCI layout and checks that it is for Linux on this host's architecture.
 * @param architecture as Go and Debian name it. @throws GatewayError IMAGE_INVALID
 */
export async function readLayout(image: GivenImage, architecture: string): Promise<ImageLayout> {
  const layout = image.files.has("manifest.json") ? await dockerLayout(image) : await ociLayout(image, architecture);
  for (const path of [layout.config, ...layout.layers]) {
    if (!image.files.has(path)) throw invalid(`the file \`${path}\`, which its manifest names, is missing`);
  }
  const config = await readJson(image, layout.config, configSchema, layout.digests);
  if (config.architecture !== architecture) {
    throw invalid(`it is for the architecture \`${config.architecture}\`, and this host is \`${architecture}\``);
  }
  if (config.rootfs.diff_ids.length !== layout.layers.length) {
    throw invalid(
      `it has ${layout.layers.length} layers, and its configuration names ${config.rootfs.diff_ids.length}`,
    );
  }
  return layout;
}

async function dockerLayout(image: GivenImage): Promise<ImageLayout> {
  const [only] = await readJson(image, "manifest.json", dockerManifestSchema, new Map());
  if (!only) throw invalid("`manifest.json` names no image");
  const paths = [only.Config, ...only.Layers];
  const blobs = paths.map((path) => [path, /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1]] as const);
  const digests = new Map(blobs.filter((it): it is readonly [string, string] => it[1] !== undefined));
  return { config: only.Config, layers: only.Layers, digests };
}

async function ociLayout(image: GivenImage, architecture: string): Promise<ImageLayout> {
  if (!image.files.has("oci-layout")) throw invalid("it holds neither `manifest.json` nor `oci-layout`");
  let index = await readJson(image, "index.json", indexSchema, new Map());
  let chosen = chooseManifest(index, architecture);
  if (INDEX_TYPE.test(chosen.mediaType)) {
    index = await readJson(image, blobPath(chosen.digest), indexSchema, digestsOf([chosen.digest]));
    chosen = chooseManifest(index, architecture);
  }
  const manifest = await readJson(image, blobPath(chosen.digest), manifestSchema, digestsOf([chosen.digest]));
  for (const { mediaType } of manifest.layers) {
    if (!LAYER_TYPE.test(mediaType)) throw invalid(`a layer is of the kind \`${mediaType}\``);
  }
  const layers = manifest.layers.map((it) => it.digest);
  return {
    config: blobPath(manifest.config.digest),
    layers: layers.map(blobPath),
    digests: digestsOf([manifest.config.digest, ...layers]),
  };
}

/** The manifest for this host; attestations, which builders put beside an image, are for no platform. */
function chooseManifest({ manifests }: z.infer<typeof indexSchema>, architecture: string) {
  const images = manifests.filter(({ platform }) => platform?.os !== "unknown");
  const fitting = images.filter(
    ({ platform }) => !platform || (platform.os === "linux" && platform.architecture === architecture),
  );
  const [only] = fitting;
  if (only && fitting.length === 1) return only;
  throw invalid(`it must hold exactly one image for linux/${architecture}, and holds ${fitting.length}`);
}

async function readJson<T>(
  image: GivenImage,
  path: string,
  schema: z.ZodType<T>,
  digests: ReadonlyMap<string, string>,
): Promise<T> {
  const content = await image.read(path);
  const expected = digests.get(path);
  if (expected !== undefined && createHash("sha256").update(content).digest("hex") !== expected) {
    throw invalid(`\`${path}\` does not match its digest`);
  }
  let value: unknown;
  try {
    value = JSON.parse(content.toString("utf8"));
  } catch (cause) {
    throw new GatewayError("IMAGE_INVALID", `the image cannot be used: \`${path}\` is not JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(`\`${path}\`: ${z.prettifyError(parsed.error)}`);
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function digestsOf(digests: readonly string[]): Map<string, string> {
  return new Map(digests.map((it) => [blobPath(it), it.slice("sha256:".length)]));
}

function invalid(why: string): GatewayError {
  return new GatewayError("IMAGE_INVALID", `the image cannot be used: ${why}`);
}
