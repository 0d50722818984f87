import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { syncDirectory } from "../files.ts";
import { type BodyName, KEY_ID } from "./bodies.ts";

/*
 * <data>/keys/bodies/<session id>/<day>-<hex>                       a key: see key-file.ts
 *                                /<day>-<hex>.erasing               one that was overwritten, while its bodies go
 *       /bodies/<session id>/<day>-<hex>/<call id>.<name>           what was encrypted with it: see cipher.ts
 *       /bodies/.lock                                               held by who erases
 */
export interface BodyPlaces {
  readonly keysDirectory: string;
  readonly directory: string;
}

export const ERASING = ".erasing";
const CALL_ID = /^[A-Za-z0-9-]{1,64}$/;
const DAY_MS = 86_400_000;

export function bodyPlaces(dataDirectory: string): BodyPlaces {
  return { keysDirectory: join(dataDirectory, "keys", "bodies"), directory: join(dataDirectory, "bodies") };
}

/** Of a key's id, which is a path of two names. INVARIANT: nothing that comes from a record or a call leaves the places. */
export function keyPath({ keysDirectory }: BodyPlaces, keyId: string): string {
  return join(keysDirectory, checked(keyId, KEY_ID));
}

/** Where what a key encrypts is kept. */
export function keptPath({ directory }: BodyPlaces, keyId: string): string {
  return join(directory, checked(keyId, KEY_ID));
}

export function bodyFile(callId: string, name: BodyName): string {
  return `${checked(callId, CALL_ID)}.${name}`;
}

export function sessionOf(keyId: string): string {
  return keyId.slice(0, keyId.indexOf("/"));
}

/** When the day of a key ends, in UTC; ms since 1970. What it encrypts was kept before. NaN for a day that no calendar has. */
export function endOfDayMs(keyId: string): number {
  return Date.parse(`${KEY_ID.exec(keyId)?.[2]}T00:00:00Z`) + DAY_MS;
}

function checked(text: string, pattern: RegExp): string {
  if (pattern.test(text)) return text;
  throw new GatewayError("INTERNAL", "not a name of a body or of its key");
}

export interface Found {
  /** Ids of keys that are there, in order. */
  readonly keyIds: readonly string[];
  /** Of keys that were overwritten, and whose bodies are still to be removed. */
  readonly erasing: readonly string[];
}

export async function listKeys({ keysDirectory }: BodyPlaces): Promise<Found> {
  const names = await below(keysDirectory);
  const isKey = (name: string) => KEY_ID.test(name);
  const erasing = names.filter((it) => it.endsWith(ERASING)).map((it) => it.slice(0, -ERASING.length));
  return { keyIds: names.filter(isKey).sort(), erasing: erasing.filter(isKey).sort() };
}

/** Ids of keys under which there are bodies, whether the keys are there or not. */
export async function listKept({ directory }: BodyPlaces): Promise<readonly string[]> {
  return (await below(directory)).filter((it) => KEY_ID.test(it)).sort();
}

/** Names of files; a directory that isn't there has none. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch(none);
}

async function below(directory: string): Promise<string[]> {
  const names: string[] = [];
  for (const outer of await readdir(directory, { withFileTypes: true }).catch(none)) {
    if (!outer.isDirectory()) continue;
    for (const inner of await namesIn(join(directory, outer.name))) names.push(`${outer.name}/${inner}`);
  }
  return names;
}

function none(error: unknown): [] {
  if (isMissing(error)) return [];
  throw error;
}

/** Makes a directory and those above it, the owner's alone, with their names on disk when this resolves. */
export async function makeDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}
