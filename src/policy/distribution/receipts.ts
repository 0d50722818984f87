import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import semver from "semver";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { LAYERS, type LayerName } from "../layer.ts";
import { bundleNameSchema, versionSchema } from "./manifest.ts";
import { type BundleSource, sourceKey } from "./source.ts";
import { syncDirectory } from "./store.ts";

const MAX_RECEIPT_CHARS = 10_000;

/** What was accepted last for a layer under a name: nothing older comes after it. */
const receiptSchema = z.strictObject({
  format: z.literal(1),
  layer: z.enum(LAYERS),
  name: bundleNameSchema,
  version: versionSchema,
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  /** Its folder in the store. */
  stored: z.string().regex(/^[0-9a-f]{64}$/),
  /** SHA-256 of the source that it came from. */
  source: z.string().regex(/^[0-9a-f]{64}$/),
  acceptedMs: z.int().min(0),
});

export type Receipt = z.infer<typeof receiptSchema>;

/** All of them. One that can't be read is no permission to go back. @throws GatewayError POLICY_ROLLBACK */
export async function readReceipts(directory: string): Promise<readonly Receipt[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return Promise.all(names.filter((it) => it.endsWith(".json")).map((it) => readReceipt(directory, it)));
}

/** Replaced whole, and on the disk when it resolves. */
export async function writeReceipt(directory: string, receipt: Receipt): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const draft = join(directory, `.${randomUUID()}`);
  {
    await using file = await open(draft, "wx", 0o600);
    await file.writeFile(`${JSON.stringify(receipt, null, 2)}\n`);
    await file.sync();
  }
  await rename(draft, join(directory, fileName(receipt)));
  await syncDirectory(directory);
}

/** @throws GatewayError POLICY_ROLLBACK when a bundle is older than what was accepted, or another one of the same version */
export function requireNoRollback(
  receipts: readonly Receipt[],
  { layer, name, version, digest }: Pick<Receipt, "layer" | "name" | "version" | "digest">,
): void {
  const last = receipts.find((it) => it.layer === layer && it.name === name);
  if (!last) return;
  const order = semver.compare(version, last.version);
  if (order > 0 || (order === 0 && digest === last.digest)) return;
  const before = `\`${name}\` ${last.version} was accepted for the ${layer} layer before`;
  throw new GatewayError(
    "POLICY_ROLLBACK",
    order < 0 ? `${before}, and ${version} is older` : `${before}, and this is another bundle of the same version`,
  );
}

/** What was accepted last from a source, if anything was. */
export function lastFrom(receipts: readonly Receipt[], layer: LayerName, source: BundleSource): Receipt | undefined {
  const from = sourceHash(source);
  const found = receipts.filter((it) => it.layer === layer && it.source === from);
  return found.toSorted((a, b) => b.acceptedMs - a.acceptedMs)[0];
}

export function sourceHash(source: BundleSource): string {
  return createHash("sha256").update(sourceKey(source)).digest("hex");
}

async function readReceipt(directory: string, file: string): Promise<Receipt> {
  const path = join(directory, file);
  try {
    const text = await readFile(path, "utf8");
    if (text.length <= MAX_RECEIPT_CHARS) {
      const receipt = receiptSchema.parse(JSON.parse(text));
      if (fileName(receipt) === file) return receipt;
    }
  } catch (cause) {
    if (cause instanceof Error && "syscall" in cause) throw cause;
    throw unreadable(path, cause);
  }
  throw unreadable(path);
}

function fileName({ layer, name }: Pick<Receipt, "layer" | "name">): string {
  return `${layer}.${name}.json`;
}

function unreadable(path: string, cause?: unknown): GatewayError {
  const fix = "remove it if you accept that an older bundle may come into force";
  return new GatewayError("POLICY_ROLLBACK", `the receipt \`${path}\` can't be read: ${fix}`, { cause });
}
