import canonicalize from "canonicalize";
import { readLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { type Entry, readChain } from "../../src/audit/read.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import type { Batch, SinkPorts } from "../../src/audit/sinks/sink.ts";
import { onlyChain, scratch } from "./audit.ts";

/** A real log with these records, read back. */
export async function loggedEntries(bodies: readonly RecordBody[]): Promise<Entry[]> {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    for (const body of bodies) await log.append(body);
  }
  const entries: Entry[] = [];
  for await (const entry of readChain(onlyChain(directory), () => true)) entries.push(entry);
  return entries;
}

export function batchOf(entries: readonly Entry[]): Batch {
  const [first, ...rest] = entries;
  if (first === undefined) throw new Error("a batch has records");
  return { chain: first.record.chain, entries: [first, ...rest] };
}

export function batchesOf(entries: readonly Entry[], records: number): Batch[] {
  return Array.from({ length: Math.ceil(entries.length / records) }, (_, at) =>
    batchOf(entries.slice(at * records, (at + 1) * records)),
  );
}

export const sinkPorts: SinkPorts = {
  authorities: async () => [],
  secret: () => async () => "",
  hide: (text) => text,
  version: "0.0.0-test",
};

/** Whether this is the record's JSON, in whatever spelling: its canonical form has to be a line of the log that verifies. */
export function isSound(json: string): boolean {
  return readLine(Buffer.from(canonicalize(JSON.parse(json)) ?? "")).sound;
}
