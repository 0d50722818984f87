import { hash, randomBytes } from "node:crypto";
import { access, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing } from "../../lib/error.ts";
import { syncDirectory } from "../files.ts";
import type { KeptBody } from "../record.ts";
import type { RedactOptions } from "../redact.ts";
import type { Bodies, BodyOf } from "./bodies.ts";
import { sealBody } from "./cipher.ts";
import { contentOf } from "./content.ts";
import { makeKey, readKey } from "./key-file.ts";
import { type BodyPlaces, bodyFile, keptPath, keyPath, makeDirectory } from "./places.ts";
import type { Room } from "./room.ts";

/** How often a key may be erased while one body is being kept. */
const MAX_TRIES = 3;

const compress = promisify(gzip);

export interface BodyStoreOptions {
  readonly places: BodyPlaces;
  readonly room: Room;
  /** What is kept out of the bodies of a tool's calls: asked at each. */
  readonly rulesOf?: (tool: string) => RedactOptions;
  readonly nowMs?: () => number;
}

/**
 * Keeps bodies in files, each encrypted with the key of its session and day. A key is read anew for each, and looked for again when its body is on disk: once it is
 * erased, by whatever process, nothing more is encrypted with it, and what is being kept goes under another.
 */
export function openBodyStore({ places, room, rulesOf = () => ({}), nowMs = Date.now }: BodyStoreOptions): Bodies {
  /** Ids of the keys in use, by session; each being made, or there. */
  const current = new Map<string, { readonly day: string; readonly keyId: Promise<string> }>();

  function keyOf(sessionId: string): Promise<string> {
    const day = new Date(nowMs()).toISOString().slice(0, 10);
    const known = current.get(sessionId);
    if (known?.day === day) return known.keyId;
    const keyId = makePlace(places, `${sessionId}/${day}-${randomBytes(4).toString("hex")}`);
    current.set(sessionId, { day, keyId });
    // What can't be made now is tried again with the next body.
    keyId.catch(() => forget(sessionId, keyId));
    return keyId;
  }

  function forget(sessionId: string, keyId: Promise<string>): void {
    if (current.get(sessionId)?.keyId === keyId) current.delete(sessionId);
  }

  async function keep({ sessionId, callId, tool, name }: BodyOf, content: unknown): Promise<KeptBody> {
    const { bytes, isCut } = await contentOf(content, rulesOf(tool));
    const compressed = await compress(bytes);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const making = keyOf(sessionId);
      const keyId = await unlessErased(making);
      const key = keyId === undefined ? undefined : await unlessErased(readKey(keyPath(places, keyId)));
      if (keyId !== undefined && key) {
        const sealed = sealBody(key, { keyId, callId, name }, compressed);
        key.fill(0);
        await room.take(sessionId, sealed.length);
        if (await write(places, keyId, bodyFile(callId, name), sealed))
          return { keyId, bytes: sealed.length, sha256: hash("sha256", sealed), ...(isCut && { truncated: true }) };
      }
      forget(sessionId, making);
    }
    throw new GatewayError("AUDIT_UNWRITABLE", "the bodies of the session's calls are being erased");
  }

  return {
    keep: async (of, content) => {
      try {
        return await keep(of, content);
      } catch (error) {
        if (error instanceof GatewayError) throw error;
        const code = codeOf(error);
        const why = code === undefined ? "" : ` (${code})`;
        throw new GatewayError("AUDIT_UNWRITABLE", `the bodies of calls cannot be kept${why}`, { cause: error });
      }
    },
  };
}

/** Makes a key and the directory of what it will encrypt, in this order: what has no key is of one that was erased. */
async function makePlace(places: BodyPlaces, keyId: string): Promise<string> {
  const key = keyPath(places, keyId);
  try {
    await makeKey(key);
    await makeDirectory(keptPath(places, keyId));
    return keyId;
  } catch (error) {
    // What failed is tried again under another id: nothing is left of it, unless the key was there before.
    if (codeOf(error) !== "EEXIST") await rm(key, { force: true });
    throw error;
  }
}

/** Whether the body is on disk, and its key still there. A file that could not be written is gone. */
async function write(places: BodyPlaces, keyId: string, name: string, sealed: Buffer): Promise<boolean> {
  const directory = keptPath(places, keyId);
  const file = join(directory, name);
  try {
    {
      await using handle = await open(file, "wx", 0o600);
      await handle.writeFile(sealed);
      // The name is there since the file was opened: both syncs can go on at once.
      await Promise.all([handle.sync(), syncDirectory(directory)]);
    }
    await access(keyPath(places, keyId));
    return true;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") await rm(file, { force: true });
    if (isMissing(error)) return false;
    throw error;
  }
}

async function unlessErased<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
