import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import type { SinkNews } from "../../src/audit/ship/health.ts";
import { Shipper } from "../../src/audit/ship/shipper.ts";
import { SHIP_LOCK_FILE } from "../../src/audit/ship/status.ts";
import { type Batch, DeliveryFailed, type Sink } from "../../src/audit/sinks/sink.ts";
import { tryLock } from "../../src/lib/lock.ts";
import { chains, onlyChain, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { central, logged, type TestData, testData, until, writeRecords } from "../support/shipping.ts";

type Deliver = (batch: Batch, signal: AbortSignal) => Promise<void> | void;

/** A sink that is a list, and a shipper to it. */
function stand(
  data: TestData,
  deliver: Deliver = () => undefined,
  { sinkMs, ...more }: { once?: boolean; deliveryMs?: number; sinkMs?: number } = {},
) {
  const kept: string[] = [];
  const batches: Batch[] = [];
  const news: SinkNews[] = [];
  let running = 0;
  const sink: Sink = {
    target: "a list",
    maxBatch: { records: 100, bytes: 1_000_000 },
    ...(sinkMs !== undefined && { deliveryMs: sinkMs }),
    deliver: async (batch, signal) => {
      running += 1;
      try {
        if (running > 1) throw new Error("two deliveries at a time");
        batches.push(batch);
        await deliver(batch, signal);
        kept.push(...batch.entries.map(({ record }) => `${record.chain}/${record.seq}`));
      } finally {
        running -= 1;
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const shipper = new Shipper({
    auditDirectory: data.auditDirectory,
    directory: data.sinkDirectory,
    open: async () => sink,
    hide: (text) => text.replaceAll("s3cret", "[redacted]"),
    tell: (it) => news.push(it),
    ...more,
  });
  onTestFinished(() => shipper[Symbol.asyncDispose]());
  return { kept, batches, news, shipper };
}

const ids = async (data: TestData) => (await logged(data.auditDirectory)).map(({ id }) => id);

test("each record is delivered once when nothing goes wrong, also across restarts", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 250);
  const first = stand(data, undefined, { once: true });
  await first.shipper.ended;
  expect(first.kept).toEqual(await ids(data));
  await writeRecords(data.auditDirectory, 20);
  const second = stand(data, undefined, { once: true });
  await second.shipper.ended;
  expect([...first.kept, ...second.kept]).toEqual(await ids(data));
  expect(await central(data)).toMatchObject({ state: "current", target: "a list", pid: undefined });
});

test("a chain with a large backlog does not starve the others", async () => {
  const data = testData();
  await Promise.all([writeRecords(data.auditDirectory, 2_000), writeRecords(data.auditDirectory, 150)]);
  const { batches, shipper } = stand(data, undefined, { once: true });
  await shipper.ended;
  const [one, other] = chains(data.auditDirectory);
  const order = batches.map(({ chain }) => (chain === one ? 1 : chain === other ? 2 : 0));
  expect(order.slice(0, 4).toSorted()).toEqual([1, 1, 2, 2]);
});

test("a batch that failed is delivered again with the same records, whatever was written meanwhile", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 5);
  let fails = 2;
  const { batches, kept, shipper } = stand(
    data,
    async () => {
      if (fails-- <= 0) return;
      await writeRecords(data.auditDirectory, 5);
      throw new DeliveryFailed("not now", { retryAfterMs: 10 });
    },
    { once: true },
  );
  await shipper.ended;
  expect(batches.slice(0, 3).map((it) => it.entries.map(({ record }) => record.seq))).toEqual(
    Array(3).fill([0, 1, 2, 3, 4]),
  );
  expect(kept).toEqual(await ids(data));
});

test("a record that a receiver never takes holds up its own chain, and no other", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  await using held = await openAuditLog({ directory: data.auditDirectory, gateway: "gw-held" });
  const other = await writeRecords(data.auditDirectory, 3);
  const { kept } = stand(data, ({ chain }) => {
    if (chain === held.chain) throw new DeliveryFailed("never this one, with s3cret");
  });
  await until(
    () => kept.length,
    (it) => it === 3,
  );
  for (let seq = 3; seq < 6; seq += 1) {
    await writeRecords(data.auditDirectory, 1);
    await until(
      () => kept.length,
      (it) => it > seq,
    );
  }
  expect(kept.every((it) => it.startsWith(`${other}/`))).toBe(true);
  const status = await until(
    () => central(data),
    ({ state, lag }) => state === "failing" && lag.records === 3,
  );
  expect(status.lastError?.message).toBe("never this one, with [redacted]");
});

test("an outage is told once when it begins and once when it is over", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  let fails = 5;
  const { news, shipper } = stand(data, () => {
    if (fails-- > 0) throw new DeliveryFailed("away");
  });
  await until(
    () => news.length,
    (it) => it === 2,
  );
  expect(news).toEqual([
    { event: "logging-failed", target: "a list", problem: "away" },
    { event: "logging-recovered", target: "a list", outageMs: expect.any(Number) },
  ]);
  await until(
    () => shipper.lag()?.records,
    (it) => it === 0,
  );
});

test("damage stops its chain, with the place, and no other; put right, it goes on", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 30);
  const damaged = onlyChain(data.auditDirectory);
  const file = join(damaged, "000001.jsonl");
  const sound = readFileSync(file, "utf8");
  const lines = sound.split("\n");
  lines[20] = (lines[20] ?? "").replace('"seq":20', '"seq":21');
  await using held = await openAuditLog({ directory: data.auditDirectory, gateway: "gw-held" });
  await writeRecords(data.auditDirectory, 30);
  writeFileSync(file, lines.join("\n"));
  const { kept, news } = stand(data);
  const status = await until(
    () => central(data),
    ({ state, lag }) => state === "stopped" && lag.records === 10,
  );
  expect(damaged).toContain(held.chain);
  expect(status.stopped).toEqual([
    { chain: held.chain, problem: expect.stringContaining(`${held.chain}/000001.jsonl, byte `) },
  ]);
  await until(
    () => kept.length,
    (it) => it === 50,
  );
  expect(news).toMatchObject([{ event: "logging-failed" }]);
  writeFileSync(file, sound);
  await until(
    () => kept.length,
    (it) => it === 60,
  );
  await until(
    () => news.length,
    (it) => it === 2,
  );
  expect(kept.toSorted()).toEqual((await ids(data)).toSorted());
});

test("a chain that was shipped and is gone is told of", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  const before = stand(data, undefined, { once: true });
  await before.shipper.ended;
  rmSync(onlyChain(data.auditDirectory), { recursive: true });
  stand(data);
  const { stopped } = await until(
    () => central(data),
    ({ state }) => state === "stopped",
  );
  expect(stopped[0]?.problem).toMatch(/^chain-\w+, of which 3 records were shipped, is missing$/);
});

test("a log that was put back from an older copy is damage, also while its gateway writes", async () => {
  const ways: [string, number, (chain: string, head: string) => void][] = [
    ["shorter", 2, () => undefined],
    ["as long, and another", 5, () => undefined],
    ["longer, and another", 9, () => undefined],
    ["with the head alone as it was", 2, (chain, head) => writeFileSync(join(chain, "head"), head)],
  ];
  for (const [what, more, change] of ways) {
    const [data, copy] = [testData(), join(testData().dataDirectory, "copy")];
    await writeRecords(data.auditDirectory, 3);
    cpSync(data.auditDirectory, copy, { recursive: true, filter: (it) => !it.endsWith("/lock") });
    await writeRecords(data.auditDirectory, 5);
    await stand(data, undefined, { once: true }).shipper.ended;
    const head = readFileSync(join(onlyChain(data.auditDirectory), "head"), "utf8");
    rmSync(data.auditDirectory, { recursive: true });
    cpSync(copy, data.auditDirectory, { recursive: true });
    await using log = await openAuditLog({ directory: data.auditDirectory, gateway: "gw-other" });
    for (let n = 0; n < more; n += 1) await log.append(event({ n: 100 + n }));
    change(onlyChain(data.auditDirectory), head);
    const { kept, shipper } = stand(data);
    const { stopped } = await until(
      () => central(data),
      ({ state }) => state === "stopped",
    );
    expect([what, stopped]).toEqual([
      what,
      [{ chain: log.chain, problem: expect.stringContaining("record 7, which was shipped, is not there any more") }],
    ]);
    expect([what, kept, shipper.lag()]).toEqual([what, [], undefined]);
    await shipper[Symbol.asyncDispose]();
    expect([what, (await central(data)).lag.seconds]).toEqual([what, null]);
  }
});

test("with a damaged cursor everything is shipped again, and the status says so", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  const before = stand(data, undefined, { once: true });
  await before.shipper.ended;
  writeFileSync(join(data.sinkDirectory, "cursor.json"), "{");
  expect((await central(data)).notes).toEqual([expect.stringContaining("its cursor is damaged")]);
  const after = stand(data, undefined, { once: true });
  await after.shipper.ended;
  expect(after.kept).toEqual(before.kept);
  expect((await central(data)).notes).toEqual([expect.stringContaining("everything is shipped again")]);
  expect(readFileSync(join(data.sinkDirectory, "cursor.damaged"), "utf8")).toBe("{");
});

test("what the head does not name yet is not shipped while its gateway lives, and is when it has died", async () => {
  const [data, copy] = [testData(), testData()];
  const log = await openAuditLog({ directory: data.auditDirectory, gateway: "gw-test" });
  await log.append(event({ n: 1 }));
  const chain = onlyChain(data.auditDirectory);
  const head = readFileSync(join(chain, "head"));
  await log.append(event({ n: 2 }));
  // As a power failure, or a death between two writes, leaves it.
  writeFileSync(join(chain, "head"), head);
  const { kept } = stand(data);
  await until(
    () => kept.length,
    (it) => it === 1,
  );
  cpSync(data.auditDirectory, copy.auditDirectory, { recursive: true, filter: (it) => !it.endsWith("/lock") });
  const ofDead = stand(copy, undefined, { once: true });
  await ofDead.shipper.ended;
  expect(ofDead.kept).toEqual(await ids(copy));
  expect(await central(copy)).toMatchObject({ state: "current", lag: { records: 0, seconds: 0 } });
  expect(kept).toHaveLength(1);
  await log[Symbol.asyncDispose]();
});

test("closing ships what is left, and does not wait for a receiver that does not answer", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 1);
  const quick = stand(data);
  await until(
    () => quick.kept.length,
    (it) => it === 1,
  );
  await writeRecords(data.auditDirectory, 300);
  await quick.shipper[Symbol.asyncDispose]();
  expect(quick.kept).toEqual(await ids(data));

  await writeRecords(data.auditDirectory, 1);
  const deaf = stand(data, () => new Promise<void>(() => undefined));
  await until(
    () => deaf.batches.length,
    (it) => it === 1,
  );
  await deaf.shipper[Symbol.asyncDispose]();
  await deaf.shipper.ended;
  expect(await central(data)).toMatchObject({ state: "behind", pid: undefined });
});

test("a delivery has a time limit", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 1);
  const aborted: unknown[] = [];
  const { batches } = stand(
    data,
    (_, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => {
          aborted.push(signal.reason);
          reject(signal.reason);
        }),
      ),
    { deliveryMs: 50 },
  );
  await until(
    () => batches.length,
    (it) => it === 2,
  );
  expect(aborted.length).toBeGreaterThan(0);
  const status = await until(
    () => central(data),
    ({ state }) => state === "failing",
  );
  expect(status.lastError?.message).toBe("`a list` did not confirm within 0.05 s");
});

test("what took longer than the sink allows is tried with half as many records, and more again with each that arrive", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 12);
  const { batches, kept } = stand(
    data,
    ({ entries }, signal) => {
      if (entries.length <= 3) return;
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
    { sinkMs: 100 },
  );
  await until(
    () => kept.length,
    (it) => it === 12,
  );
  const sizes = batches.map((it) => it.entries.length);
  expect(sizes.slice(0, 6)).toEqual([12, 6, 3, 4, 2, 3]);
  expect(kept).toEqual(await ids(data));
  const { lastError } = await until(
    () => central(data),
    (it) => it.lastError !== undefined,
  );
  expect(lastError?.message).toBe("`a list` did not confirm within 0.1 s");
});

test("who ships once gives up on a receiver that stays away", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 1);
  const { batches, shipper } = stand(
    data,
    () => {
      throw new DeliveryFailed("away");
    },
    { once: true },
  );
  await shipper.ended;
  expect(batches).toHaveLength(5);
  expect(await central(data)).toMatchObject({ state: "failing", lag: { records: 1 }, lastError: { failures: 5 } });
});

test("a restart does not make a sink that fails look as if it did not", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 1);
  const fails = () => {
    throw new DeliveryFailed("away");
  };
  await stand(data, fails, { once: true }).shipper.ended;
  const deaf = stand(data, () => new Promise<void>(() => undefined));
  await until(
    () => deaf.batches.length,
    (it) => it === 1,
  );
  const failing = { state: "failing", lastError: { message: "away", failures: 5 } };
  expect(await central(data)).toMatchObject(failing);
  await deaf.shipper[Symbol.asyncDispose]();
  await deaf.shipper.ended;
  expect(await central(data)).toMatchObject(failing);
  await stand(data, undefined, { once: true }).shipper.ended;
  expect(await central(data)).toMatchObject({ state: "current", lastError: { failures: 0 } });
});

test("records of many segments are shipped over their boundaries", async () => {
  const data = testData();
  for (let n = 0; n < 5; n += 1) await writeRecords(data.auditDirectory, 600);
  expect(segments(onlyChain(data.auditDirectory)).length).toBeGreaterThan(3);
  const { kept, shipper } = stand(data, undefined, { once: true });
  await shipper.ended;
  expect(kept).toEqual(await ids(data));
});

test("a cursor that can't be written is waited for longer each time, and told of", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 1);
  mkdirSync(join(data.sinkDirectory, "cursor.json.new"), { recursive: true });
  const { batches, news, shipper } = stand(data, undefined, { once: true });
  await shipper.ended;
  expect(batches).toHaveLength(5);
  expect(news).toMatchObject([{ event: "logging-failed", problem: expect.stringContaining("EISDIR") }]);
});

test("a chain that can't be read holds up no other, and is told of", async () => {
  const data = testData();
  await Promise.all([writeRecords(data.auditDirectory, 3), writeRecords(data.auditDirectory, 250)]);
  const [first = "", second = ""] = chains(data.auditDirectory);
  const head = join(data.auditDirectory, first, "head");
  const sound = readFileSync(head);
  rmSync(head);
  mkdirSync(head);
  const { kept, news, shipper } = stand(data, undefined, { once: true });
  await shipper.ended;
  expect(new Set(kept.map((it) => it.split("/")[0]))).toEqual(new Set([second]));
  expect(kept.length).toBe((await ids(data)).filter((it) => it.startsWith(second)).length);
  expect(news).toMatchObject([{ event: "logging-failed", problem: expect.stringContaining("EISDIR") }]);
  expect(shipper.lag()).toBeUndefined();
  expect(await central(data)).toMatchObject({ state: "failing", lag: { seconds: null } });
  rmSync(head, { recursive: true });
  writeFileSync(head, sound);
  const after = stand(data, undefined, { once: true });
  await after.shipper.ended;
  expect([...kept, ...after.kept].toSorted()).toEqual((await ids(data)).toSorted());
});

test("a chain that was removed while its delivery failed fails no more", async () => {
  for (const shipped of [0, 100]) {
    const data = testData();
    await writeRecords(data.auditDirectory, shipped + 3);
    const { kept, shipper } = stand(
      data,
      ({ entries }) => {
        if (entries.length > 3) return;
        rmSync(onlyChain(data.auditDirectory), { recursive: true });
        throw new DeliveryFailed("away");
      },
      { once: true },
    );
    await shipper.ended;
    expect(kept).toHaveLength(shipped);
    const state =
      shipped === 0 ? { state: "unreached", lag: { seconds: 0 } } : { state: "stopped", lag: { seconds: null } };
    expect(await central(data)).toMatchObject(state);
  }
});

test("how far behind it is is unknown where the log can't say, not nothing", async () => {
  const damages: [string, (chain: string) => void][] = [
    ["the oldest line", (it) => writeFileSync(join(it, "000001.jsonl"), "x", { flag: "r+" })],
    ["no head", (it) => rmSync(join(it, "head"))],
    ["half a head", (it) => writeFileSync(join(it, "head"), "{")],
    ["no segments", (it) => rmSync(join(it, "000001.jsonl"))],
  ];
  for (const [what, damage] of damages) {
    const data = testData();
    await writeRecords(data.auditDirectory, 3);
    expect((await central(data)).lag.seconds).toBeTypeOf("number");
    damage(onlyChain(data.auditDirectory));
    expect([what, await central(data)]).toMatchObject([what, { state: "behind", lag: { seconds: null } }]);
  }
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  await stand(data, undefined, { once: true }).shipper.ended;
  rmSync(onlyChain(data.auditDirectory), { recursive: true });
  expect(await central(data)).toMatchObject({ state: "behind", lag: { seconds: null } });
});

test("of records that a clock wrote which was ahead, nobody knows how long they wait", async () => {
  const data = testData();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
  onTestFinished(() => void vi.useRealTimers());
  await using ahead = await openAuditLog({ directory: data.auditDirectory, gateway: "gw-ahead" });
  await ahead.append(event({ n: 1 }));
  vi.useRealTimers();
  // Another chain, of which it is known, does not make it so.
  await writeRecords(data.auditDirectory, 2);
  expect(await central(data)).toMatchObject({ state: "behind", lag: { records: 3, seconds: null } });
});

test("who ships once waits a moment for a lock that somebody only looks at", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  mkdirSync(data.sinkDirectory, { recursive: true });
  const lock = tryLock(join(data.sinkDirectory, SHIP_LOCK_FILE));
  const { kept, shipper } = stand(data, undefined, { once: true });
  setTimeout(() => lock?.[Symbol.dispose](), 50);
  await shipper.ended;
  expect(kept).toHaveLength(3);
});
