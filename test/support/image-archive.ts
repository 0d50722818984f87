import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";

export const ARCHITECTURE = process.arch === "arm64" ? "arm64" : "amd64";

export interface Entry {
  readonly name: string;
  readonly type?: "file" | "link" | "symlink" | "character-device" | "directory";
  readonly linkname?: string;
  readonly mode?: number;
  readonly content?: string | Buffer;
}
/** Files of an image archive by path, in order. */
export type Files = Record<string, string | Buffer>;

export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) archive.entry(header, content ?? "");
  archive.finalize();
  return buffer(archive);
}

export const tarOfFiles = (files: Files) => tarOf(Object.entries(files).map(([name, content]) => ({ name, content })));

export const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

export function configOf(layers: readonly Buffer[], changes: object = {}): string {
  const rootfs = { type: "layers", diff_ids: layers.map((it) => `sha256:${sha256(it)}`) };
  return JSON.stringify({ architecture: ARCHITECTURE, os: "linux", config: {}, rootfs, ...changes });
}

/** What `docker save` writes. */
export function dockerFiles(layers: readonly Buffer[], config = configOf(layers)): Files {
  const named = layers.map((it, index) => [`layer${index}/layer.tar`, it] as const);
  const manifest = [{ Config: "config.json", RepoTags: ["mine:1"], Layers: named.map(([name]) => name) }];
  return { "manifest.json": JSON.stringify(manifest), "config.json": config, ...Object.fromEntries(named) };
}

/** An OCI layout with compressed layers and, beside the image, an attestation for no platform. */
export function ociFiles(layers: readonly Buffer[], { nested = false, config = configOf(layers) } = {}): Files {
  const blobs: Files = {};
  const put = (mediaType: string, content: string | Buffer) => {
    const digest = sha256(content);
    blobs[`blobs/sha256/${digest}`] = content;
    return { mediaType, digest: `sha256:${digest}`, size: content.length };
  };
  const type = (name: string) => `application/vnd.oci.image.${name}`;
  const manifest = {
    schemaVersion: 2,
    mediaType: type("manifest.v1+json"),
    config: put(type("config.v1+json"), config),
    layers: layers.map((it) => put(type("layer.v1.tar+gzip"), gzipSync(it))),
  };
  const platform = { os: "linux", architecture: ARCHITECTURE };
  const image = { ...put(manifest.mediaType, JSON.stringify(manifest)), platform };
  const nothing = { ...put(manifest.mediaType, "{}"), platform: { os: "unknown", architecture: "unknown" } };
  const index = { schemaVersion: 2, manifests: [nothing, image] };
  const outer = { schemaVersion: 2, manifests: [put(type("index.v1+json"), JSON.stringify(index))] };
  return {
    ...blobs,
    "index.json": JSON.stringify(nested ? outer : index),
    "oci-layout": JSON.stringify({ imageLayoutVersion: "1.0.0" }),
  };
}

export function writeFolder(directory: string, files: Files): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}
