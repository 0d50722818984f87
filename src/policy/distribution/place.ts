import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import semver from "semver";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { readBundleFiles, SIGNATURE } from "../read-files.ts";
import type { PublicKey } from "./keys.ts";
import { type VerifiedBundle, verifyFiles } from "./manifest.ts";
import { syncDirectory, writeFiles } from "./store.ts";

/**
 * Puts a bundle into a folder of its own, whole or not at all. What is there before has to be an older one that these keys signed.
 * @returns whether there was anything to do
 * @throws GatewayError POLICY_ROLLBACK, STATE_UNWRITABLE
 */
export async function placeBundle(to: string, bundle: VerifiedBundle, keys: readonly PublicKey[]): Promise<boolean> {
  const before = await bundleAt(to, keys);
  if (before && !isNewer(bundle, before)) return false;
  const parent = dirname(to);
  try {
    const draft = await mkdtemp(join(parent, `.${basename(to)}-`));
    try {
      await writeFiles(draft, bundle.files, 0o644);
      await chmod(draft, 0o755);
      const aside = join(parent, `.${basename(to)}-${randomUUID()}`);
      if (before) await rename(to, aside);
      await rename(draft, to).catch(async (error: unknown) => {
        if (before) await rename(aside, to);
        throw error;
      });
      await syncDirectory(parent);
      await rm(aside, { recursive: true, force: true });
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  } catch (cause) {
    throw unwritable(to, cause);
  }
  return true;
}

/** Puts a file's new text into a bundle's folder in one step. @throws GatewayError STATE_UNWRITABLE */
export async function replaceFile(directory: string, name: string, text: string): Promise<void> {
  const draft = join(directory, `.${name}-${randomUUID()}`);
  try {
    {
      await using file = await open(draft, "wx", 0o644);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(draft, join(directory, name));
    await syncDirectory(directory);
  } catch (cause) {
    await rm(draft, { force: true });
    throw unwritable(join(directory, name), cause);
  }
}

/** @throws GatewayError POLICY_ROLLBACK */
function isNewer(bundle: VerifiedBundle, before: VerifiedBundle): boolean {
  const order = semver.compare(bundle.version, before.version);
  if (bundle.name === before.name && (order > 0 || isResigned(bundle, before))) return true;
  if (bundle.name === before.name && order === 0 && bundle.digest === before.digest) return false;
  const what = (it: VerifiedBundle) => `\`${it.name}\` ${it.version}`;
  throw new GatewayError("POLICY_ROLLBACK", `${what(before)} is there, and ${what(bundle)} is not a newer one of it`);
}

function isResigned(bundle: VerifiedBundle, before: VerifiedBundle): boolean {
  if (bundle.version !== before.version || bundle.digest !== before.digest) return false;
  return bundle.files.get(SIGNATURE)?.equals(before.files.get(SIGNATURE) ?? Buffer.alloc(0)) === false;
}

async function bundleAt(to: string, keys: readonly PublicKey[]): Promise<VerifiedBundle | undefined> {
  try {
    const { files, problems } = await readBundleFiles(to);
    if (files.size === 0 && problems.length === 0) return undefined;
    return verifyFiles(files, keys);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      "POLICY_ROLLBACK",
      `\`${to}\` is there, and is no bundle that these keys signed: remove it, or name another folder (${why})`,
      { cause },
    );
  }
}

function unwritable(path: string, cause: unknown): GatewayError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GatewayError("STATE_UNWRITABLE", `\`${path}\` can't be written: ${why}`, { cause });
}
