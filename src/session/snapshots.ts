import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { newId } from "../lib/id.ts";
import { type Lock, tryLock } from "../lib/lock.ts";
import type { Profile } from "../policy/profile.ts";
import type { Ledger } from "./ledger.ts";
import type { SavedIn, SavedSandbox } from "./sandbox.ts";

/** What a person and a model know of a snapshot. */
export interface SnapshotSummary {
  readonly name: string;
  /** RFC 3339. */
  readonly takenAt: string;
  /** The session that it was taken of. */
  readonly sessionId: string;
  readonly bytes: number;
}

export interface Snapshot extends SnapshotSummary, SavedIn {
  readonly id: string;
  readonly principalId: string;
}

/** Writes a sandbox into the directory. */
export type Save = (directory: string) => Promise<SavedSandbox>;

/** A sandbox saved for one use. Disposal removes it. */
export interface TemporarySave extends SavedIn, AsyncDisposable {}

const factsSchema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  principalId: z.string(),
  sessionId: z.string(),
  takenAt: z.iso.datetime(),
  bytes: z.int().min(0),
  shape: z.string(),
  container: z.string(),
});

const FACTS = "snapshot.json";
const LOCK_POLL_MS = 50;
const MIB = 1024 * 1024;

/**
 * Sandboxes that were saved to be kept, on disk, shared by the gateways of one data directory. Each belongs to one principal, and is to
 * all others as if it were not there. A directory appears whole or not at all; one that is being deleted is out of sight first.
 *
 *     <directory>/<id>/{snapshot.json, files of the machine}
 *     <directory>/.deleted-<id>/
 *     <directory>/lock               held while the list of snapshots changes
 *
 * What is being written lies in the gateway's ledger, so that nothing of it survives a gateway that dies.
 */
export class Snapshots {
  readonly #directory: string;
  readonly #ledger: Ledger;
  readonly #limits: () => Profile["snapshots"];

  constructor(directory: string, ledger: Ledger, limits: () => Profile["snapshots"]) {
    this.#directory = directory;
    this.#ledger = ledger;
    this.#limits = limits;
  }

  async list(principalId: string): Promise<SnapshotSummary[]> {
    return (await this.#of(principalId)).map(({ name, takenAt, sessionId, bytes }) => ({
      name,
      takenAt,
      sessionId,
      bytes,
    }));
  }

  /** @throws GatewayError SNAPSHOT_NOT_FOUND */
  async find(principalId: string, name: string): Promise<Snapshot> {
    const found = (await this.#of(principalId)).find((it) => it.name === name);
    if (!found) throw new GatewayError("SNAPSHOT_NOT_FOUND", `there is no snapshot \`${name}\``);
    return found;
  }

  /** @throws GatewayError SNAPSHOT_EXISTS, SNAPSHOT_LIMIT, and what `save` throws */
  async take(owner: { principalId: string; sessionId: string }, name: string, save: Save): Promise<SnapshotSummary> {
    const { principalId, sessionId } = owner;
    // Before the work, and again when it is done: others may have been quicker.
    await this.#admit(principalId, name, 0);
    await using draft = await this.temporary(save);
    const { directory, shape, container } = draft;
    const bytes = await sizeOf(directory);
    const summary = { name, takenAt: new Date().toISOString(), sessionId, bytes };
    const facts: z.infer<typeof factsSchema> = { version: 1, ...summary, principalId, shape, container };
    await writeFile(join(directory, FACTS), JSON.stringify(facts), { mode: 0o400 });
    using _lock = await this.#lock();
    await this.#admit(principalId, name, bytes);
    await rename(directory, join(this.#directory, newId("snap")));
    return summary;
  }

  /** Saves a sandbox for as long as it takes to open another from it. */
  async temporary(save: Save): Promise<TemporarySave> {
    const id = newId("snap");
    const directory = await this.#ledger.enter(id);
    const forget = () => this.#ledger.forget(id);
    try {
      return { directory, ...(await save(directory)), [Symbol.asyncDispose]: forget };
    } catch (error) {
      await forget();
      throw error;
    }
  }

  /** @throws GatewayError SNAPSHOT_NOT_FOUND */
  async delete(principalId: string, name: string): Promise<void> {
    await removeSnapshot(this.#directory, (await this.find(principalId, name)).id);
  }

  async #of(principalId: string): Promise<Snapshot[]> {
    return (await readSnapshots(this.#directory)).snapshots.filter((it) => it.principalId === principalId);
  }

  async #admit(principalId: string, name: string, bytes: number): Promise<void> {
    const all = await this.#of(principalId);
    const { count, totalMiB } = this.#limits();
    if (all.some((it) => it.name === name))
      throw new GatewayError("SNAPSHOT_EXISTS", `there is a snapshot \`${name}\``);
    if (all.length >= count) throw new GatewayError("SNAPSHOT_LIMIT", `the profile permits ${count} snapshots`);
    const totalBytes = all.reduce((sum, it) => sum + it.bytes, bytes);
    if (totalBytes > totalMiB * MIB) {
      const needed = Math.ceil(totalBytes / MIB);
      throw new GatewayError("SNAPSHOT_LIMIT", `${needed} MiB of snapshots; the profile permits ${totalMiB}`);
    }
  }

  async #lock(): Promise<Lock> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (;;) {
      const lock = tryLock(join(this.#directory, "lock"));
      if (lock) return lock;
      await sleep(LOCK_POLL_MS);
    }
  }
}

/** All snapshots of all principals, oldest first, and the ids of those that can't be read, which nobody can use. */
export async function readSnapshots(directory: string): Promise<{ snapshots: Snapshot[]; unreadable: string[] }> {
  const ids = (await readNames(directory)).filter((it) => it.startsWith("snap-"));
  const found = await Promise.all(ids.map((id) => readSnapshot(directory, id)));
  const snapshots = found.filter((it) => it !== undefined).sort((a, b) => a.takenAt.localeCompare(b.takenAt));
  return { snapshots, unreadable: ids.filter((_, index) => found[index] === undefined) };
}

/** Removes one for good. @throws GatewayError SNAPSHOT_NOT_FOUND */
export async function removeSnapshot(directory: string, id: string): Promise<void> {
  try {
    await rename(join(directory, id), join(directory, `.deleted-${id}`));
  } catch (error) {
    if (isMissing(error)) throw new GatewayError("SNAPSHOT_NOT_FOUND");
    throw error;
  }
  await removeDeleted(directory);
}

/** Ends removals that were interrupted. */
export async function removeDeleted(directory: string): Promise<void> {
  const deleted = (await readNames(directory)).filter((it) => it.startsWith(".deleted-"));
  for (const name of deleted) await rm(join(directory, name), { recursive: true, force: true });
}

async function readSnapshot(directory: string, id: string): Promise<Snapshot | undefined> {
  try {
    const facts = factsSchema.parse(JSON.parse(await readFile(join(directory, id, FACTS), "utf8")));
    return { ...facts, id, directory: join(directory, id) };
  } catch {
    return undefined;
  }
}

async function readNames(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** What the files take on disk. */
async function sizeOf(directory: string): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(directory)).map(async (it) => (await stat(join(directory, it))).blocks),
  );
  return sizes.reduce((sum, blocks) => sum + blocks * 512, 0);
}
