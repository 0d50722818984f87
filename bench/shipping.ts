import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readHead } from "../src/audit/head.ts";
import { type AuditLog, openAuditLog } from "../src/audit/log.ts";
import { Shipper } from "../src/audit/ship/shipper.ts";
import type { Batch, Sink } from "../src/audit/sinks/sink.ts";
import { GatewayError } from "../src/errors.ts";
import { newId } from "../src/lib/id.ts";
import { record } from "./audit.ts";
import { type Row, row } from "./row.ts";

/** Besides the one that begins a chain. */
const RECORDS = 20_000;
const ROUNDS = 3;
const CALLS_AT_ONCE = 500;

/** The same bytes without the sink: how long they took. */
export interface Bare {
  readonly ms: number;
  readonly bytes: number;
}

export interface Shipping {
  /** The receiver, for people. */
  readonly to: string;
  readonly open: () => Promise<Sink>;
  /** Does with the bytes of what was just shipped, in these batches, the least that brings them there. */
  readonly bare: (batches: readonly Batch[]) => Promise<Bare>;
  /** What `bare` does, as in "… of the same 14 MB". */
  readonly baseline: string;
}

/** Records a second from a log on disk to a receiver's confirmation, beside the same bytes without log, shipper and sink, in turns. */
export async function logTo({ to, open, bare, baseline }: Shipping): Promise<Row> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-shipping-"));
  const shipped: number[] = [];
  const bared: number[] = [];
  let bytes = 0;
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const auditDirectory = join(directory, `audit-${round}`);
      const records = await fill(auditDirectory);
      const { ms, batches } = await shipOnce(auditDirectory, join(directory, `sink-${round}`), open);
      const confirmed = batches.reduce((sum, it) => sum + it.entries.length, 0);
      if (confirmed !== records) throw new GatewayError("INTERNAL", `${confirmed} of ${records} are confirmed`);
      shipped.push((records * 1000) / ms);
      const without = await bare(batches);
      bared.push((records * 1000) / without.ms);
      bytes = without.bytes;
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const same = `${baseline} of the same ${(bytes / 1e6).toFixed(1)} MB`;
  return row(`log to ${to}, end to end`, shipped, "records/s", same, bared);
}

/** A call's two records, the second when the first is on disk. */
export async function call(log: AuditLog): Promise<void> {
  const callId = newId("call");
  await log.append({ ...record(), callId });
  const facts = { exitCode: 0, endedBy: "exit", stdoutBytes: 812, stderrBytes: 0 };
  await log.append({ kind: "outcome", callId, status: "ok", durationMs: 41, facts });
}

/** The sink, telling of each batch that it has confirmed. */
export function watched(sink: Sink, onConfirmed: (batch: Batch) => void): Sink {
  return {
    target: sink.target,
    maxBatch: sink.maxBatch,
    ...(sink.deliveryMs !== undefined && { deliveryMs: sink.deliveryMs }),
    deliver: async (batch, signal) => {
      await sink.deliver(batch, signal);
      onConfirmed(batch);
    },
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

/** How many records the log has then. */
async function fill(directory: string): Promise<number> {
  await using log = await openAuditLog({ directory, gateway: "gw-bench" });
  for (let done = 0; done < RECORDS; done += 2 * CALLS_AT_ONCE) {
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => call(log)));
  }
  const head = await readHead(join(directory, log.chain));
  if (typeof head === "string") throw new GatewayError("INTERNAL", `the log's head is ${head}`);
  return head.seq + 1;
}

/** From when the sink is about to be opened until the last batch is confirmed. */
async function shipOnce(auditDirectory: string, directory: string, open: Shipping["open"]) {
  const batches: Batch[] = [];
  const startedMs = performance.now();
  let endedMs = startedMs;
  const shipper = new Shipper({
    auditDirectory,
    directory,
    open: async () =>
      watched(await open(), (batch) => {
        batches.push(batch);
        endedMs = performance.now();
      }),
    hide: (text) => text,
    tell: (news) => console.error(news),
    once: true,
  });
  await shipper.ended;
  return { ms: endedMs - startedMs, batches };
}
