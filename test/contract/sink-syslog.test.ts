import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { Entry } from "../../src/audit/read.ts";
import { DeliveryFailed, type Sink } from "../../src/audit/sinks/sink.ts";
import { openSyslogSink } from "../../src/audit/sinks/syslog.ts";
import { syslogSchema } from "../../src/audit/sinks/syslog-settings.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { Rsyslog, type RsyslogOptions } from "../support/rsyslog.ts";
import { batchesOf, batchOf, isSound, loggedEntries, sinkPorts } from "../support/sinks.ts";

const signal = new AbortController().signal;

async function openRsyslog(options?: RsyslogOptions): Promise<Rsyslog> {
  const rsyslog = await Rsyslog.start(options);
  onTestFinished(() => rsyslog[Symbol.asyncDispose]());
  return rsyslog;
}

async function openSink(rsyslog: Rsyslog, settings: Record<string, unknown> = {}): Promise<Sink> {
  const { port, certificates } = rsyslog;
  const stated = { name: "central", type: "syslog", host: "localhost", port, ca: certificates.ca, ...settings };
  const sink = await openSyslogSink(syslogSchema.parse(stated), sinkPorts);
  onTestFinished(() => sink[Symbol.asyncDispose]());
  return sink;
}

const calls = (count: number) =>
  loggedEntries(
    Array.from({ length: count }, (_, n) => [
      intent(`call-${n}`, { argv: ["echo", `"] \\ \u007f\u0085\u2028 \ufeff ${"ü".repeat(n % 50)}`] }),
      outcome(`call-${n}`),
    ]).flat(),
  );

/** Delivers batch after batch, each until it is confirmed, and counts how often it was not. */
async function deliverAll(sink: Sink, entries: readonly Entry[], records: number, afterEach?: (at: number) => void) {
  let failures = 0;
  for (const [at, batch] of batchesOf(entries, records).entries()) {
    for (;;) {
      try {
        await sink.deliver(batch, signal);
        break;
      } catch (error) {
        if (!(error instanceof DeliveryFailed) || failures > 2000) throw error;
        failures += 1;
        await sleep(20);
      }
    }
    afterEach?.(at);
  }
  return failures;
}

/** All of the log is there, in its order, each record sound and with its hash; how many came more than once. */
function expectAll(rsyslog: Rsyslog, entries: readonly Entry[]): number {
  const received = rsyslog.records();
  const byId = new Map(received.map((it) => [it.id, it]));
  expect([...byId.keys()]).toEqual(entries.map(({ record }) => `${record.chain}/${record.seq}`));
  for (const { id, hash, json } of received) {
    expect(byId.get(id)?.hash).toBe(hash);
    expect(isSound(json)).toBe(true);
    expect(JSON.parse(json).hash).toBe(hash);
  }
  expect([...byId.values()].map(({ hash }) => hash)).toEqual(entries.map(({ record }) => record.hash));
  return received.length - byId.size;
}

test("all of a log arrives at rsyslog, each record once and as it was", async () => {
  const rsyslog = await openRsyslog();
  const sink = await openSink(rsyslog);
  const entries = await calls(150);
  expect(await deliverAll(sink, entries, 60)).toBe(0);
  expect(expectAll(rsyslog, entries)).toBe(0);
  expect(rsyslog.messages()[0]).toMatchObject({ priority: 110, appName: "glovebox", processId: "gw-test" });
});

test("records that are longer than rsyslog takes arrive in parts", async () => {
  const rsyslog = await openRsyslog();
  const sink = await openSink(rsyslog);
  const entries = await loggedEntries(
    [10, 7_000, 16_000, 112_000].map((chars) =>
      event(Array.from({ length: Math.ceil(chars / 16_000) }, () => "€x".repeat(Math.min(chars, 16_000) / 2))),
    ),
  );
  await deliverAll(sink, entries, 10);
  expect(expectAll(rsyslog, entries)).toBe(0);
  expect(rsyslog.messages().length).toBeGreaterThan(60);
});

test("what is written while rsyslog is away arrives when it is back, and a restart loses nothing", async () => {
  const rsyslog = await openRsyslog();
  const sink = await openSink(rsyslog);
  const entries = await calls(60);
  const [first, second, third] = [entries.slice(0, 40), entries.slice(40, 80), entries.slice(80)];
  await deliverAll(sink, first, 20);
  await rsyslog.stop();
  await expect(sink.deliver(batchOf(second), signal)).rejects.toThrow(
    /localhost:\d+: cannot be reached \(ECONNREFUSED\)/,
  );
  await rsyslog.start();
  await deliverAll(sink, second, 20);
  await rsyslog.stop();
  await rsyslog.start();
  await deliverAll(sink, third, 20);
  expectAll(rsyslog, entries);
});

test("rsyslog killed and stopped again and again in the middle of batches loses nothing that was confirmed", async () => {
  const rsyslog = await openRsyslog();
  const sink = await openSink(rsyslog);
  const entries = await calls(400);
  const steps = new EventEmitter();
  let delivered = false;
  const delivering = deliverAll(sink, entries, 40, () => steps.emit("delivered")).finally(() => {
    delivered = true;
    steps.emit("delivered");
  });
  const ending = (async () => {
    for (let round = 0; round < 6 && !delivered; round += 1) {
      await once(steps, "delivered");
      // The next batch is on its way, further in each round.
      await sleep(round * 15);
      await (round % 3 === 2 ? rsyslog.stop() : rsyslog.kill());
      await rsyslog.start();
    }
  })();
  const [failures] = await Promise.all([delivering, ending]);
  const repeated = expectAll(rsyslog, entries);
  expect(failures + repeated).toBeGreaterThan(0);
});

test("an rsyslog that stands still holds the delivery up and loses nothing", async () => {
  const rsyslog = await openRsyslog();
  const sink = await openSink(rsyslog, { timeoutSeconds: 1 });
  const entries = await calls(20);
  rsyslog.pause();
  await expect(sink.deliver(batchOf(entries), signal)).rejects.toThrow(/no answer for 1 s/);
  rsyslog.resume();
  await deliverAll(sink, entries, 40);
  expectAll(rsyslog, entries);
});

test("nothing is sent to a receiver that another authority vouches for, or under another name", async () => {
  const rsyslog = await openRsyslog();
  const batch = batchOf(await calls(1));
  const unknown = await openSink(rsyslog, { ca: rsyslog.certificates.otherCa });
  await expect(unknown.deliver(batch, signal)).rejects.toThrow(
    /not of an authority that is trusted .*name that in `ca`/,
  );
  const elsewhere = await openSink(rsyslog, { host: "127.0.0.1" });
  await expect(elsewhere.deliver(batch, signal)).rejects.toThrow(/for another name than `host`/);
  expect(rsyslog.messages()).toEqual([]);
});

test("an rsyslog that asks who is sending takes records of its client, and no other's count as delivered", async () => {
  const rsyslog = await openRsyslog({ permittedPeer: "client.example" });
  const { client, stranger } = rsyslog.certificates;
  const as = (clientCertificate: typeof client) => ({ clientCertificate });
  const entries = await calls(5);
  for (const settings of [{}, as(stranger)]) {
    const refused = await openSink(rsyslog, settings);
    for (let round = 0; round < 5; round += 1) {
      await expect(refused.deliver(batchOf(entries), signal)).rejects.toThrow(/clientCertificate/);
    }
  }
  expect(rsyslog.messages()).toEqual([]);
  const sink = await openSink(rsyslog, as(client));
  await deliverAll(sink, entries, 10);
  expect(expectAll(rsyslog, entries)).toBe(0);
});
