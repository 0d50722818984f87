import { lstat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { factsIn, textsIn } from "../facts.ts";
import { listChains } from "../files.ts";
import { readChain } from "../read.ts";
import type { KeptBody, RecordBody } from "../record.ts";
import { KEY_ID } from "./bodies.ts";
import { type BodyPlaces, bodyFile, keptPath, keyPath, listKept, namesIn } from "./places.ts";
import { type NamedBody, namedIn, readSealed } from "./read.ts";

/** More are counted, not kept. */
const MAX_PROBLEMS = 1_000;
/** Whose record may still be on its way to the log; ms. */
const YOUNG_MS = 60_000;

export interface BodyProblem {
  readonly callId: string;
  readonly name: NamedBody["name"];
  readonly keyId: string;
  readonly message: string;
}

export interface BodyCheck {
  /** As their records name them, with their keys there. */
  readonly kept: number;
  /** On record as erased. */
  readonly erased: number;
  /** Whose records say that they could not be kept. */
  readonly lost: number;
  /** Keys on record as erased that are still there: it goes on just now, or failed. */
  readonly unfinished: number;
  /** Files that no record names, as the death of a gateway leaves them. */
  readonly unnamed: number;
  /** The first 1,000. */
  readonly problems: readonly BodyProblem[];
  readonly problemCount: number;
}

/**
 * Compares the bodies that the log names with those that are there; without their keys. Gateways may be keeping and erasing meanwhile. Whether the log itself
 * is whole, `verifyLog` says. Memory: a name for each file, and for each key. @throws the file system's error
 */
export async function checkBodies(
  auditDirectory: string,
  places: BodyPlaces,
  onProgress: (bodies: number) => void = () => undefined,
): Promise<BodyCheck> {
  const unnamed = await oldFiles(places);
  let erased = await erasedKeys(auditDirectory);
  const keys = new Set<string>();
  const problems: BodyProblem[] = [];
  /** By key. */
  const problemCounts = new Map<string, number>();
  const counts = { kept: 0, erased: 0, lost: 0 };
  let seen = 0;

  async function see(named: NamedBody): Promise<void> {
    const { callId, name, kept } = named;
    onProgress(++seen);
    if ("lost" in kept) {
      counts.lost += 1;
      return;
    }
    const { keyId } = kept;
    unnamed.delete(`${keyId}/${bodyFile(callId, name)}`);
    if (erased.has(keyId)) {
      counts.erased += 1;
      return;
    }
    const message = await problemOf(named, kept);
    if (message === undefined) {
      counts.kept += 1;
      return;
    }
    problemCounts.set(keyId, (problemCounts.get(keyId) ?? 0) + 1);
    if (problems.length < MAX_PROBLEMS) problems.push({ callId, name, keyId, message });
  }

  async function problemOf(named: NamedBody, kept: KeptBody): Promise<string | undefined> {
    const { state } = await readSealed(places, named, kept);
    if (state === "missing") return "its file is gone, and no record says that it was erased";
    if (state === "changed") return "its file is not what the log says";
    if (keys.has(kept.keyId)) return undefined;
    if (!(await isThere(keyPath(places, kept.keyId)))) return "its key is gone, and no record says that it was erased";
    keys.add(kept.keyId);
    return undefined;
  }

  for await (const body of bodiesNamedIn(auditDirectory)) {
    const named = namedIn(body);
    if (named) await see(named);
  }
  // What was erased while this went on is no problem.
  if (problemCounts.size > 0) erased = await erasedKeys(auditDirectory);
  let unfinished = 0;
  for (const keyId of erased) if (await isThere(keyPath(places, keyId))) unfinished += 1;
  const counted = [...problemCounts].filter(([keyId]) => !erased.has(keyId)).reduce((sum, [, it]) => sum + it, 0);
  const all = [...problemCounts.values()].reduce((sum, it) => sum + it, 0);
  return {
    ...counts,
    erased: counts.erased + all - counted,
    unfinished,
    unnamed: [...unnamed].filter((it) => !erased.has(dirname(it))).length,
    problems: problems.filter(({ keyId }) => !erased.has(keyId)),
    problemCount: counted,
  };
}

async function* bodiesNamedIn(auditDirectory: string): AsyncGenerator<RecordBody> {
  const mayName = (line: Buffer) => line.includes('"bodies":{');
  for (const chain of await listChains(auditDirectory)) {
    for await (const { record } of readChain(join(auditDirectory, chain), mayName)) yield record.body;
  }
}

/** Of all chains: whoever erases writes one of its own. */
async function erasedKeys(auditDirectory: string): Promise<ReadonlySet<string>> {
  const keyIds = new Set<string>();
  for (const chain of await listChains(auditDirectory)) {
    for await (const { record } of readChain(join(auditDirectory, chain), (line) => line.includes('"bodies-erased"'))) {
      const { body } = record;
      if (body.kind !== "event" || body.event !== "bodies-erased") continue;
      for (const keyId of textsIn(factsIn(body.facts), "keyIds")) if (KEY_ID.test(keyId)) keyIds.add(keyId);
    }
  }
  return keyIds;
}

/** Files of bodies by key and name, but those whose record may still be on its way. */
async function oldFiles(places: BodyPlaces): Promise<Set<string>> {
  const files = new Set<string>();
  const before = Date.now() - YOUNG_MS;
  for (const keyId of await listKept(places)) {
    const directory = keptPath(places, keyId);
    for (const name of await namesIn(directory)) {
      const stats = await lstat(join(directory, name)).catch(unlessMissing);
      if (stats && stats.mtimeMs < before) files.add(`${keyId}/${name}`);
    }
  }
  return files;
}

async function isThere(file: string): Promise<boolean> {
  return (await lstat(file).catch(unlessMissing)) !== undefined;
}

function unlessMissing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
