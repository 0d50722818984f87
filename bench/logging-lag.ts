import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openAuditLog } from "../src/audit/log.ts";
import { openSigner } from "../src/audit/proof/signer.ts";
import { Shipper } from "../src/audit/ship/shipper.ts";
import { openSink } from "../src/audit/sinks/open.ts";
import { sinkSchema } from "../src/audit/sinks/settings.ts";
import type { Batch, Sink } from "../src/audit/sinks/sink.ts";
import { GatewayError } from "../src/errors.ts";
import { postgresPrograms, startPostgres } from "../test/support/postgres.ts";
import { makeStore, portsFor, settingsFor } from "../test/support/postgres-store.ts";
import { startReceiver } from "./receiving.ts";
import { type Row, row } from "./row.ts";
import { call, watched } from "./shipping.ts";

const CALLS_PER_SECOND = 2_000;
const SECONDS = 60;
/** How often calls are begun. */
const STEP_MS = 10;
const ALONE = 40;

/**
 * How old records are when a receiver has confirmed them, while 2,000 calls a second are written for a minute, beside one call at a time with
 * nothing else to do; and how many of those calls are written in that minute. The log is signed, the receivers are processes of their own.
 */
export async function benchLoggingLag(): Promise<Row[]> {
  return [...(await lagTo("HTTPS", withHttps)), ...(await lagTo("PostgreSQL", withPostgres))];
}

type WithReceiver = (use: (open: () => Promise<Sink>) => Promise<void>) => Promise<void>;

async function lagTo(name: string, withReceiver: WithReceiver): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-lag-"));
  const rows: Row[] = [];
  try {
    await withReceiver(async (open) => {
      const auditDirectory = join(directory, "audit");
      const signer = await openSigner(join(directory, "keys", "audit.key"), "bench");
      await using log = await openAuditLog({ directory: auditDirectory, gateway: "gw-bench", signer });
      const agesMs: number[] = [];
      await using _shipper = new Shipper({
        auditDirectory,
        directory: join(directory, "sinks", "central"),
        open: async () => watched(await open(), (batch) => noteAges(batch, agesMs)),
        hide: (text) => text,
        tell: (news) => console.error(news),
      });
      for (let n = 0; n < ALONE; n++) {
        await call(log);
        await sleep(100);
      }
      const alone = agesMs.splice(0);
      const done = await atRate(() => call(log));
      const what = `${CALLS_PER_SECOND} calls/s for ${SECONDS} s, to ${name}`;
      rows.push(
        row(`age of records when confirmed, ${what}`, agesMs.splice(0), "ms", "ten calls a second", alone),
        row(`calls written, ${what}`, [done / SECONDS], "calls/s", "calls begun", [CALLS_PER_SECOND]),
      );
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return rows;
}

/** Notes how old each record is when it is confirmed. */
function noteAges({ entries }: Batch, agesMs: number[]): void {
  const nowMs = Date.now();
  for (const it of entries) agesMs.push(nowMs - Date.parse(it.record.time));
}

/** Begins so many a second, whatever becomes of them (a log that cannot keep up refuses); says how many had ended when the time was up. */
async function atRate(run: () => Promise<void>): Promise<number> {
  let begun = 0;
  let done = 0;
  const all: Promise<void>[] = [];
  const startedMs = performance.now();
  for (;;) {
    const elapsedMs = performance.now() - startedMs;
    if (elapsedMs >= SECONDS * 1000) break;
    for (; begun < (elapsedMs / 1000) * CALLS_PER_SECOND; begun++) {
      all.push(
        run().then(
          () => {
            done += 1;
          },
          (error: unknown) => {
            if (!(error instanceof GatewayError && error.code === "AUDIT_UNWRITABLE")) throw error;
          },
        ),
      );
    }
    await sleep(STEP_MS);
  }
  const inTime = done;
  await Promise.all(all);
  return inTime;
}

const withHttps: WithReceiver = async (use) => {
  using receiver = await startReceiver("https");
  const url = `https://localhost:${receiver.port}/`;
  const settings = sinkSchema.parse({ name: "central", type: "https", url });
  await use(() => openSink(settings, receiver.ports));
};

const withPostgres: WithReceiver = async (use) => {
  // Where no server is installed, nothing is measured.
  if (postgresPrograms() === undefined) return;
  await using postgres = await startPostgres({ durable: true });
  await makeStore(postgres);
  await use(() => openSink(settingsFor(postgres), portsFor(postgres)));
};
