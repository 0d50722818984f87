import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import semver from "semver";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import { LAYERS, type LayerName } from "../layer.ts";
import { type BundleFiles, digestOf, isBundleFile, MAX_FILES, README, SIGNATURE, sorted } from "../read-files.ts";
import { readYaml } from "../yaml.ts";
import { openEnvelope, signEnvelope } from "./dsse.ts";
import type { PrivateKey, PublicKey } from "./keys.ts";

const PAYLOAD_TYPE = "application/vnd.glovebox.bundle+json";

/** Of semver.org, in its one spelling. */
export const versionSchema = z.string().max(100).refine(isVersion, "must be a version such as 1.0.0");

export const bundleNameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "must be lower-case letters, digits and dashes");

const manifestSchema = z.strictObject({
  format: z.literal(1),
  name: bundleNameSchema,
  version: versionSchema,
  layer: z.enum(LAYERS).optional(),
  files: z
    .record(
      z.string().refine((it) => isBundleFile(it) && isSigned(it)),
      z.string().regex(/^[0-9a-f]{64}$/),
    )
    .refine((it) => Object.keys(it).length <= MAX_FILES),
});

export interface BundleLabel {
  readonly name: string;
  readonly version: string;
  readonly layer?: LayerName;
}

export interface VerifiedBundle extends BundleLabel {
  /** `sha256:` of what was signed; that of the loaded bundle, unless a group of hosts takes part in it. */
  readonly digest: string;
  /** Ids of the trusted keys that signed it, at least one. */
  readonly signedBy: readonly string[];
  /** What was signed, and the signature. */
  readonly files: BundleFiles;
}

const labelSchema = z.looseObject({
  name: bundleNameSchema,
  version: versionSchema,
  layer: z.enum(LAYERS).optional(),
});

/**
 * The envelope to put beside these files, which make a valid bundle.
 * @throws GatewayError POLICY_SIGNATURE when there is no room for a signature, POLICY_INVALID for a version that can't be ordered
 */
export function signFiles(files: BundleFiles, signer: PrivateKey): string {
  const label = labelOf(files);
  if (!label) throw new GatewayError("POLICY_INVALID", "bundle.yaml: needs a name, and a version as semver.org has it");
  const manifest = { format: 1, ...label, files: Object.fromEntries(hashes(files)) };
  // RFC 8785: the same bundle is the same bytes, so that several can sign it.
  const payload = Buffer.from(canonicalize(manifest) ?? "");
  return signEnvelope(PAYLOAD_TYPE, payload, signer, files.get(SIGNATURE));
}

/** Whether these files, all of them and no others, are what one of the keys signed. @throws GatewayError POLICY_UNSIGNED, POLICY_SIGNATURE */
export function verifyFiles(files: BundleFiles, keys: readonly PublicKey[]): VerifiedBundle {
  const envelope = files.get(SIGNATURE);
  if (!envelope) throw new GatewayError("POLICY_UNSIGNED", `the bundle is not signed: it has no \`${SIGNATURE}\``);
  const { payload, signedBy } = openEnvelope(envelope, PAYLOAD_TYPE, keys);
  const manifest = readManifest(payload);
  const found = hashes(files);
  const promised = new Map(Object.entries(manifest.files));
  const wrong = [
    ...[...promised].filter(([name]) => !found.has(name)).map(([name]) => `\`${name}\` is missing`),
    ...[...found].filter(([name]) => !promised.has(name)).map(([name]) => `\`${name}\` was not signed`),
    ...[...found]
      .filter(([name, hash]) => promised.has(name) && promised.get(name) !== hash)
      .map(([name]) => `\`${name}\` is another than was signed`),
  ];
  if (wrong.length > 0) throw broken(wrong.join(", "));
  const { name, version, layer } = manifest;
  const label = labelOf(files);
  if (label?.name !== name || label.version !== version || label.layer !== layer) {
    throw broken("what was signed has another name, version or layer than bundle.yaml");
  }
  return {
    name,
    version,
    ...(layer && { layer }),
    digest: contentDigest(files),
    signedBy: signedBy.map((it) => it.id),
    files: new Map([...files].filter(([it]) => it !== README)),
  };
}

/** `sha256:` of what is decided by, in the order of names: what a loaded bundle's identity has. */
export function contentDigest(files: BundleFiles): string {
  return digestOf(sorted(new Map([...files].filter(([name]) => isSigned(name)))));
}

/** Name, version and layer as bundle.yaml has them; nothing where it doesn't. */
export function labelOf(files: BundleFiles): BundleLabel | undefined {
  const text = files.get("bundle.yaml")?.toString() ?? "";
  const read = readYaml("bundle.yaml", text, labelSchema);
  if (!("value" in read)) return undefined;
  const { name, version, layer } = read.value;
  return { name, version, ...(layer && { layer }) };
}

/** What semver.org allows and nothing more: the library also takes `v1.0.0`. */
function isVersion(text: string): boolean {
  const parsed = semver.parse(text);
  return (
    parsed !== null && [parsed.version, ...(parsed.build.length > 0 ? [parsed.build.join(".")] : [])].join("+") === text
  );
}

function readManifest(payload: Buffer): z.infer<typeof manifestSchema> {
  try {
    return manifestSchema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload)));
  } catch (cause) {
    throw new GatewayError("POLICY_SIGNATURE", "the bundle's signed list of files can't be read by this version", {
      cause,
    });
  }
}

function hashes(files: BundleFiles): Map<string, string> {
  const signed = [...files].filter(([name]) => isSigned(name));
  return new Map(signed.map(([name, content]) => [name, createHash("sha256").update(content).digest("hex")]));
}

function isSigned(name: string): boolean {
  return name !== README && name !== SIGNATURE;
}

function broken(problem: string): GatewayError {
  return new GatewayError("POLICY_SIGNATURE", printable(`the bundle's signature does not hold: ${problem}`));
}
