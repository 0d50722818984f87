import { join } from "node:path";
import { listChains } from "./files.ts";
import { type Entry, readChain } from "./read.ts";

/** More records of one call are not told. */
const MAX_RECORDS = 1_000;

/**
 * What the log has of one call, in order: its intent, its outcome, events that name it, and of its session the event before it,
 * those during it and the next one after it. Empty when no chain has the call. Reads the log once or twice, in bounded memory.
 */
export async function storyOf(directory: string, callId: string): Promise<Entry[]> {
  for (const chain of await listChains(directory)) {
    const chainDirectory = join(directory, chain);
    const own = await recordsOfCall(chainDirectory, callId);
    if (own.length === 0) continue;
    const session = own.map(({ record }) => record.body.sessionId).find((it) => it !== undefined);
    const around = session === undefined ? [] : await sessionAround(chainDirectory, session, own);
    return [...own, ...around].sort((a, b) => a.record.seq - b.record.seq);
  }
  return [];
}

async function recordsOfCall(chainDirectory: string, callId: string): Promise<Entry[]> {
  const own: Entry[] = [];
  for await (const entry of readChain(chainDirectory, (line) => line.includes(callId))) {
    if (entry.record.body.callId === callId) own.push(entry);
    if (own.length === MAX_RECORDS) break;
  }
  return own;
}

async function sessionAround(chainDirectory: string, session: string, own: readonly Entry[]): Promise<Entry[]> {
  const first = own[0]?.record.seq ?? 0;
  const last = own.at(-1)?.record.seq ?? 0;
  let before: Entry | undefined;
  const during: Entry[] = [];
  for await (const entry of readChain(chainDirectory, (line) => line.includes(session) && line.includes('"session-'))) {
    const { body, seq } = entry.record;
    if (body.kind !== "event" || body.sessionId !== session || own.some((it) => it.record.seq === seq)) continue;
    if (seq < first) before = entry;
    else during.push(entry);
    if (seq > last || during.length === MAX_RECORDS) break;
  }
  return before ? [before, ...during] : during;
}
