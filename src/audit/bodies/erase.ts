import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing } from "../../lib/error.ts";
import { tryLock } from "../../lib/lock.ts";
import { syncDirectory } from "../files.ts";
import type { AuditWriter } from "../record.ts";
import { overwriteKey } from "./key-file.ts";
import { type BodyPlaces, ERASING, keptPath, keyPath, listKept, listKeys, makeDirectory, namesIn } from "./places.ts";

/** Keys that one record names. */
const MAX_KEYS = 500;

export interface EraseOptions {
  readonly places: BodyPlaces;
  readonly audit: AuditWriter;
  readonly why: "person" | "retention";
  /** Whoever asked for it. */
  readonly by?: string;
  /** Of which keys. */
  readonly erases: (keyId: string) => boolean;
}

export interface Erased {
  readonly keys: number;
  readonly bodies: number;
  /** Of the encrypted files. */
  readonly bytes: number;
}

const NOTHING: Erased = { keys: 0, bodies: 0, bytes: 0 };

/**
 * Erases keys, and with them what they encrypted: that is on record, then each key is overwritten, and its name is gone, before its bodies are
 * removed. What was begun before and interrupted is finished first. Gateways may be keeping bodies meanwhile. Undefined while another process erases.
 * @throws GatewayError as the log's `append`, with nothing erased that is not on record; AUDIT_UNWRITABLE when a key or a body can't be removed
 */
export async function eraseBodies(options: EraseOptions): Promise<Erased | undefined> {
  const { places, erases } = options;
  try {
    if ((await namesIn(places.keysDirectory)).length === 0 && (await listKept(places)).length === 0) return NOTHING;
    await makeDirectory(places.directory);
    using lock = tryLock(join(places.directory, ".lock"));
    if (!lock) return undefined;
    const { keyIds, erasing } = await listKeys(places);
    for (const keyId of erasing) await eraseKey(places, keyId);
    // What is left of a key that somebody has removed goes as well.
    const due = [...new Set([...keyIds, ...(await listKept(places))])].filter(erases).sort();
    let total = NOTHING;
    for (let at = 0; at < due.length; at += MAX_KEYS) {
      const { keys, bodies, bytes } = await eraseOnRecord(options, due.slice(at, at + MAX_KEYS));
      total = { keys: total.keys + keys, bodies: total.bodies + bodies, bytes: total.bytes + bytes };
    }
    return total;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const message = `bodies of calls cannot be erased (${codeOf(error) ?? "for an unknown reason"})`;
    throw new GatewayError("AUDIT_UNWRITABLE", message, { cause: error });
  }
}

async function eraseOnRecord({ places, audit, why, by }: EraseOptions, keyIds: readonly string[]): Promise<Erased> {
  let bodies = 0;
  let bytes = 0;
  for (const keyId of keyIds) {
    const directory = keptPath(places, keyId);
    for (const name of await namesIn(directory)) {
      bodies += 1;
      bytes += (await sizeOf(join(directory, name))) ?? 0;
    }
  }
  const facts = { why, ...(by !== undefined && { by }), keyIds, bodies, bytes };
  // Without `sessionId`: a person's command writes another chain than the session's gateway, and a session's story is told from one.
  await audit.append({ kind: "event", event: "bodies-erased", facts });
  for (const keyId of keyIds) await eraseKey(places, keyId);
  return { keys: keyIds.length, bodies, bytes };
}

/** INVARIANT: the mark that the key leaves goes last, so that whatever interrupts this, the next erasure goes on here. */
async function eraseKey(places: BodyPlaces, keyId: string): Promise<void> {
  const key = keyPath(places, keyId);
  await makeDirectory(dirname(key));
  await overwriteKey(key);
  const directory = keptPath(places, keyId);
  await rm(directory, { recursive: true, force: true });
  await removeIfEmpty(dirname(directory));
  await rm(`${key}${ERASING}`, { force: true });
  await syncDirectory(dirname(key));
  await removeIfEmpty(dirname(key));
}

async function removeIfEmpty(directory: string): Promise<void> {
  try {
    if ((await readdir(directory)).length > 0) return;
    await rmdir(directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    if (!isMissing(error) && codeOf(error) !== "ENOTEMPTY") throw error;
  }
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await lstat(file)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
