import { hash } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { listChains } from "../files.ts";
import { readChain } from "../read.ts";
import type { KeptBody, LostBody, RecordBody } from "../record.ts";
import type { BodyName } from "./bodies.ts";
import { openSealed, SEAL_BYTES } from "./cipher.ts";
import { MAX_CONTENT_BYTES } from "./content.ts";
import { readKey } from "./key-file.ts";
import { type BodyPlaces, bodyFile, keptPath, keyPath } from "./places.ts";

/** What compressing may make longer; bytes. */
const MAX_FILE_BYTES = MAX_CONTENT_BYTES + 65_536 + SEAL_BYTES;

const decompress = promisify(gunzip);

/** A body as the record of its call names it. */
export interface NamedBody {
  readonly callId: string;
  readonly name: BodyName;
  readonly kept: KeptBody | LostBody;
}

/** Which body a record names. */
export function namedIn(body: RecordBody): NamedBody | undefined {
  if (body.kind === "event" || body.bodies === undefined) return undefined;
  const { callId } = body;
  if ("arguments" in body.bodies) return { callId, name: "arguments", kept: body.bodies.arguments };
  return { callId, name: "result", kept: body.bodies.result };
}

/** Bodies that the records of a call name; undefined of a call that the log does not have. */
export async function bodiesOfCall(auditDirectory: string, callId: string): Promise<readonly NamedBody[] | undefined> {
  const text = Buffer.from(JSON.stringify(callId));
  for (const chain of await listChains(auditDirectory)) {
    const named: NamedBody[] = [];
    let isKnown = false;
    for await (const { record } of readChain(join(auditDirectory, chain), (line) => line.includes(text))) {
      if (record.body.kind === "event" || record.body.callId !== callId) continue;
      isKnown = true;
      const body = namedIn(record.body);
      if (body) named.push(body);
      if (record.body.kind === "outcome") break;
    }
    if (isKnown) return named;
  }
  return undefined;
}

/** What of a kept body can be read, without its key. */
export type Sealed =
  | { readonly state: "kept"; readonly sealed: Buffer }
  | { readonly state: "missing" }
  /** It is not what the record names. */
  | { readonly state: "changed" };

/** The encrypted file that a record names, if it is that one. @throws the file system's error */
export async function readSealed(places: BodyPlaces, { callId, name }: NamedBody, kept: KeptBody): Promise<Sealed> {
  const file = join(keptPath(places, kept.keyId), bodyFile(callId, name));
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size !== kept.bytes || stats.size > MAX_FILE_BYTES) return { state: "changed" };
    const sealed = await handle.readFile();
    return hash("sha256", sealed) === kept.sha256 ? { state: "kept", sealed } : { state: "changed" };
  } catch (error) {
    if (isMissing(error)) return { state: "missing" };
    throw error;
  }
}

/**
 * What a body holds: JSON, unless it was truncated.
 * @throws GatewayError INVALID_ARGUMENTS when it was lost or erased; AUDIT_CORRUPT when it is not what the record names
 */
export async function readBody(places: BodyPlaces, named: NamedBody): Promise<Buffer> {
  const { callId, name, kept } = named;
  if ("lost" in kept)
    throw new GatewayError("INVALID_ARGUMENTS", `the ${name} of this call could not be kept: ${kept.lost}`);
  const key = await readKey(keyPath(places, kept.keyId)).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (!key)
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `the ${name} of this call cannot be read any more: its key was erased, or removed`,
    );
  const found = await readSealed(places, named, kept);
  if (found.state !== "kept") throw notAsNamed(name, found.state);
  const content = openSealed(key, { keyId: kept.keyId, callId, name }, found.sealed);
  if (!content) throw notAsNamed(name, "not of its key");
  return await decompress(content, { maxOutputLength: MAX_CONTENT_BYTES });
}

function notAsNamed(name: BodyName, how: string): GatewayError {
  const what = how === "missing" ? "is missing" : `is not what the log says (${how})`;
  return new GatewayError("AUDIT_CORRUPT", `the file with the ${name} of this call ${what}`);
}
