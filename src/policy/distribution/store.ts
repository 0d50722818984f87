import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing } from "../../lib/error.ts";
import { type BundleFiles, digestOf, readBundleFiles } from "../read-files.ts";

/** So many that nothing names any more are kept, for those who look into what was in force. */
const KEPT = 8;
const MAX_ATTEMPTS = 10;
const LEFTOVER_MS = 3_600_000;
const STORED = /^[0-9a-f]{64}$/;
const UNFINISHED = /^\.(incoming|removed)-/;

/**
 * Bundles as they came, each in a folder that has the SHA-256 of all its files as its name, signature included. Such a folder never
 * changes; one that has is not used.
 */
export async function putBundle(store: string, files: BundleFiles): Promise<string> {
  await mkdir(store, { recursive: true, mode: 0o700 });
  const name = storedName(files);
  const target = join(store, name);
  for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts += 1) {
    if (await storedBundle(store, name)) {
      const now = new Date();
      await utimes(target, now, now);
      return name;
    }
    await setAside(store, name);
    const draft = await mkdtemp(join(store, ".incoming-"));
    try {
      await writeFiles(draft, files);
      const isPlaced = await placed(draft, target);
      await syncDirectory(store);
      if (isPlaced) return name;
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  throw new GatewayError("STATE_UNWRITABLE", `\`${target}\` is changed by somebody else all the time`);
}

/** The files of a stored bundle, if they are still what its name says. */
export async function storedBundle(store: string, name: string): Promise<BundleFiles | undefined> {
  if (!STORED.test(name)) return undefined;
  try {
    const { files, problems } = await readBundleFiles(join(store, name));
    return problems.length === 0 && storedName(files) === name ? files : undefined;
  } catch (error) {
    if (error instanceof Error && "syscall" in error) return undefined;
    throw error;
  }
}

/** Removes what nothing names but the last few, and what processes that died have left behind. */
export async function sweepStore(store: string, named: ReadonlySet<string>): Promise<void> {
  const ages = await Promise.all(
    (await readdir(store)).map(async (it) => [it, await changedMs(join(store, it))] as const),
  );
  const known = ages.flatMap(([name, atMs]) => (atMs === undefined ? [] : [{ name, atMs }]));
  const unnamed = known.filter(({ name }) => STORED.test(name) && !named.has(name)).toSorted((a, b) => b.atMs - a.atMs);
  for (const { name } of unnamed.slice(KEPT)) await setAside(store, name);
  const left = known.filter(({ name, atMs }) => UNFINISHED.test(name) && Date.now() - atMs > LEFTOVER_MS);
  for (const { name } of left) await rm(join(store, name), { recursive: true, force: true });
}

/** New files of these names in a folder, on the disk when it resolves. */
export async function writeFiles(directory: string, files: BundleFiles, mode = 0o600): Promise<void> {
  for (const [name, content] of files) {
    await using file = await open(join(directory, name), "wx", mode);
    await file.writeFile(content);
    await file.sync();
  }
  await syncDirectory(directory);
}

/** Makes created and renamed names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}

/** @throws GatewayError STATE_UNWRITABLE for what the system says of the data directory */
export async function inState<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const isSystem = cause instanceof Error && ("syscall" in cause || "errcode" in cause);
    if (!isSystem) throw cause;
    throw new GatewayError("STATE_UNWRITABLE", `policy bundles can't be kept: ${cause.message}`, { cause });
  }
}

function storedName(files: BundleFiles): string {
  return digestOf(files).slice("sha256:".length);
}

/** False when another process was first: what it wrote is looked at like any other. */
async function placed(draft: string, target: string): Promise<boolean> {
  try {
    await rename(draft, target);
    return true;
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}

/** In one step, so that nobody sees half of it. */
async function setAside(store: string, name: string): Promise<void> {
  const aside = join(store, `.removed-${randomUUID()}`);
  try {
    await rename(join(store, name), aside);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

async function changedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
