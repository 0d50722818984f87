import { describe, expect, onTestFinished, test } from "vitest";
import { Shipper } from "../../src/audit/ship/shipper.ts";
import { openSink } from "../../src/audit/sinks/open.ts";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import {
  byChain,
  central,
  logged,
  spawnShipper,
  testData,
  testPorts,
  until,
  writeRecords,
} from "../support/shipping.ts";

/** A record as a receiver knows it: by its id, `<chain>/<seq>`, and the hash that came with it. */
export interface ReceivedRecord {
  readonly id: string;
  readonly hash: string;
}

/**
 * A real receiver that a driver is tested against: a server of the test's own, or a system's daemon. It starts stopped-and-startable: `start`
 * has been called once when `makeReceiver` resolves.
 */
export interface Receiver extends AsyncDisposable {
  /** One sink as glovebox.yaml states it, with `name` and `type`: plain JSON, since another process gets it too. Secrets by `file` or `env`. */
  readonly settings: { readonly name: string; readonly type: string; readonly [key: string]: unknown };
  /** In PEM: what the driver trusts besides its own `ca`. */
  readonly authorities: readonly string[];
  /**
   * What it keeps, in the order in which it arrived, each record once: a repetition is suppressed by its id, as a receiver in earnest would.
   * A repetition with another hash throws.
   */
  received(): Promise<readonly ReceivedRecord[]>;
  /** Does not answer any more, and cuts the connections that are open. What it has confirmed is kept. */
  stop(): Promise<void>;
  /** Is at the same address again. */
  start(): Promise<void>;
  /** From now on an answer takes so long; 0: none of it. */
  slow(delayMs: number): void | Promise<void>;
  /** Left out where it can't be had: keeps the next batch, and drops the connection instead of saying so. */
  dropNext?(): void | Promise<void>;
}

export type MakeReceiver = () => Promise<Receiver>;

/** Runs a driver, and shipping with it, against a receiver that is real: nothing may be lost, whatever ends in between. */
export function sinkSuite(name: string, makeReceiver: MakeReceiver): void {
  const stand = async () => {
    const receiver = await makeReceiver();
    onTestFinished(() => receiver[Symbol.asyncDispose]());
    const closing = new AbortController();
    onTestFinished(() => closing.abort());
    const data = testData();
    const settings = sinkSchema.parse(receiver.settings);
    const ports = testPorts(receiver.authorities, closing.signal);
    const ship = () => {
      const shipper = new Shipper({
        auditDirectory: data.auditDirectory,
        directory: data.sinkDirectory,
        open: () => openSink(settings, ports),
        hide: ports.hide,
        tell: () => undefined,
      });
      onTestFinished(() => shipper[Symbol.asyncDispose]());
      return shipper;
    };
    return {
      receiver,
      data,
      ship,
      spawn: () => spawnShipper(data, receiver.settings, receiver.authorities),
      arrived: (count: number) =>
        until(
          () => receiver.received(),
          (it) => it.length >= count,
        ),
      /** All of the log arrives and is confirmed: nothing else, and each chain in its order. */
      everything: async () => {
        const held = byChain(await logged(data.auditDirectory));
        await until(
          () => receiver.received(),
          (it) => it.length >= held.length,
        );
        const status = await until(
          () => central(data),
          (it) => it.state === "current" && it.delivered >= held.length,
        );
        expect(byChain(await receiver.received())).toEqual(held);
        expect(status).toMatchObject({ delivered: held.length, lag: { records: 0, bytes: 0, seconds: 0 } });
        return status;
      },
    };
  };

  describe(name, () => {
    test("a log arrives as it is, in order, and what is written meanwhile, too", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 2_500);
      const shipper = it.ship();
      await writeRecords(it.data.auditDirectory, 10);
      expect((await it.everything()).pid).toBe(process.pid);
      expect(shipper.lag()?.records).toBeTypeOf("number");
    });

    test("chains of several gateways arrive, each in its order", async () => {
      const it = await stand();
      await Promise.all([1_200, 30, 400].map((count) => writeRecords(it.data.auditDirectory, count)));
      it.ship();
      await it.everything();
    });

    test("text of every kind arrives as it was", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 3, {
        text: "\u0000\u001b[2J é 漢 \u{1f9e4} \u2028 ]]> \\ \" ' <a> %s {}\r\n",
      });
      await writeRecords(it.data.auditDirectory, 1, { long: Array(14).fill("x".repeat(16_000)) });
      it.ship();
      await it.everything();
    });

    test("an outage in the middle loses nothing, and is over when it is over", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 500);
      it.ship();
      await it.arrived(500);
      await it.receiver.stop();
      await writeRecords(it.data.auditDirectory, 1_500);
      const failing = await until(
        () => central(it.data),
        ({ state }) => state === "failing",
      );
      expect(failing.lag.records).toBeGreaterThan(0);
      expect(failing.lastError?.message).toBeTruthy();
      await it.receiver.start();
      await it.everything();
    });

    test("a receiver that is stopped while it takes records loses none of them", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 4_000);
      await it.receiver.slow(20);
      it.ship();
      for (const count of [1, 1_001, 2_001]) {
        await it.arrived(count);
        await it.receiver.stop();
        await it.receiver.start();
      }
      await it.everything();
    });

    test("a shipper that is killed in the middle of a batch goes on where it was", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 3_000);
      await it.receiver.slow(50);
      for (const count of [1, 1_001]) {
        const shipper = await it.spawn();
        await it.arrived(count);
        await shipper.kill();
      }
      await it.receiver.slow(0);
      it.ship();
      await it.everything();
    });

    test("two processes: one ships, and the other goes on when it is killed", async () => {
      const it = await stand();
      await writeRecords(it.data.auditDirectory, 100);
      const first = await it.spawn();
      await it.everything();
      const second = await it.spawn();
      await writeRecords(it.data.auditDirectory, 100);
      expect((await it.everything()).pid).toBe(first.child.pid);
      await first.kill();
      await writeRecords(it.data.auditDirectory, 100);
      const status = await it.everything();
      expect(status.pid).toBe(second.child.pid);
    });

    test("a receiver that keeps a batch and does not say so gets it again, and knows it", async (context) => {
      const it = await stand();
      if (!it.receiver.dropNext) return context.skip("it gives no answer that could be dropped");
      await writeRecords(it.data.auditDirectory, 50);
      await it.receiver.dropNext();
      it.ship();
      await it.everything();
      await until(
        () => central(it.data),
        (status) => status.lastError !== undefined,
      );
    });
  });
}
