import { readdirSync, statSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { type AuditLog, openAuditLog } from "../../src/audit/log.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

const clean = async (directory: string) => expect((await verifyLog(directory)).problems).toEqual([]);

test("sixty-four writers: every record is there once, each writer's in its order", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 100_000 });
    const write = async (writer: number) => {
      for (let n = 0; n < 20; n++) await log.append(event({ writer, n }));
    };
    await Promise.all(Array.from({ length: 64 }, (_, writer) => write(writer)));
  }
  await clean(directory);
  const seen = new Map<number, number[]>();
  for (const { body } of recordsOf(onlyChain(directory))) {
    if (body.kind !== "event" || body.event !== "process-ended") continue;
    const { writer, n } = body.facts as { writer: number; n: number };
    seen.set(writer, [...(seen.get(writer) ?? []), n]);
  }
  expect(seen.size).toBe(64);
  for (const order of seen.values()) expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n));
  expect(segments(onlyChain(directory)).length).toBeGreaterThan(3);
});

test("appends that nobody waits for keep their order, and more than the queue holds gets through", async () => {
  const directory = scratch();
  const filler = Array.from({ length: 10 }, () => "x".repeat(10_000));
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    // Twice what the queue takes before appends have to wait.
    await Promise.all(Array.from({ length: 170 }, (_, n) => log.append(event({ n, filler }))));
  }
  await clean(directory);
  const events = recordsOf(onlyChain(directory)).flatMap(({ body }) => (body.kind === "event" ? [body] : []));
  const order = events.filter((it) => it.event === "process-ended").map((it) => (it.facts as { n: number }).n);
  expect(order).toEqual(Array.from({ length: 170 }, (_, n) => n));
});

test("a chain is continued across restarts, and two logs on one directory write their own [G15]", async () => {
  const directory = scratch();
  for (let start = 0; start < 3; start++) {
    await using log = await openAuditLog({ directory, gateway: `gw-${start}` });
    await log.append(event({ start }));
  }
  expect(recordsOf(onlyChain(directory)).map(({ seq, gateway }) => [seq, gateway])).toEqual([
    [0, "gw-0"],
    [1, "gw-1"],
    [2, "gw-2"],
  ]);
  {
    await using one = await openAuditLog({ directory, gateway: "gw-one" });
    await using two = await openAuditLog({ directory, gateway: "gw-two" });
    expect(one.chain).not.toBe(two.chain);
    await Promise.all([one.append(event({ one: 1 })), two.append(event({ two: 1 }))]);
  }
  expect(chains(directory)).toHaveLength(2);
  await clean(directory);
});

test("[G17] files are for their owner alone", async () => {
  const directory = join(scratch(), "audit");
  await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 1 });
  await log.append(event({ a: 1 }));
  await log.append(event({ a: 2 }));
  const chain = onlyChain(directory);
  for (const path of [directory, chain]) expect([path, statSync(path).mode & 0o777]).toEqual([path, 0o700]);
  const names = readdirSync(chain).sort();
  expect(names).toEqual(["000001.jsonl", "000002.jsonl", "head", "lock"]);
  for (const name of names) expect([name, statSync(join(chain, name)).mode & 0o777]).toEqual([name, 0o600]);
});

test("a new segment begins with the calls that are open, and the size of the log does not matter to a start", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-dead", segmentBytes: 2_000 });
    await log.append(intent("call-open"));
    for (let n = 0; n < 20; n++) {
      await log.append(intent(`call-${n}`));
      await log.append(outcome(`call-${n}`));
    }
  }
  const chain = onlyChain(directory);
  const last = recordsOf(chain).findLast(({ body }) => body.kind === "event");
  const openCalls = expect.arrayContaining(["call-open"]);
  expect(last?.body).toEqual({ kind: "event", event: "segment-started", facts: { openCalls } });
  // The gateway reads the last segment only: it starts with a first one that is no longer readable.
  writeFileSync(join(chain, "000001.jsonl"), "nothing of use\n");
  const interrupted: string[] = [];
  {
    const onRecovered = (it: { interrupted: readonly string[] }) => interrupted.push(...it.interrupted);
    await using _log = await openAuditLog({ directory, gateway: "gw-next", onRecovered });
  }
  expect(interrupted).toEqual(["call-open"]);
});

const refused = (log: AuditLog, body: RecordBody) =>
  log.append(body).then(
    () => "written",
    (error) => error.code,
  );

test("what would not verify is refused and leaves the log as it was", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    await log.append(event({ a: 1 }));
    expect(await refused(log, { ...event({ a: 2 }), extra: true } as RecordBody)).toBe("INTERNAL");
    await log.append(event({ a: 3 }));
  }
  await clean(directory);
  expect(recordsOf(onlyChain(directory))).toHaveLength(2);
});

test("a closed log takes nothing more; closing waits for what was appended", async () => {
  const directory = scratch();
  const log = await openAuditLog({ directory, gateway: "gw-test" });
  const last = Promise.all([log.append(event({ a: 1 })), log.append(event({ a: 2 }))]);
  await Promise.all([log[Symbol.asyncDispose](), log[Symbol.asyncDispose]()]);
  await last;
  expect(await refused(log, event({ a: 3 }))).toBe("SHUTTING_DOWN");
  expect(recordsOf(onlyChain(directory))).toHaveLength(2);
});

test("[G5] a log that is removed or cut short under a running gateway takes no more records", async () => {
  for (const harm of [unlinkSync, (path: string) => truncateSync(path, 10)]) {
    const directory = scratch();
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    await log.append(event({ a: 1 }));
    harm(join(onlyChain(directory), "000001.jsonl"));
    for (let n = 0; n < 3; n++) expect(await refused(log, event({ n }))).toBe("AUDIT_UNWRITABLE");
  }
});

test("[G5] no more calls may be open than a segment's first record can name", async () => {
  const directory = scratch();
  await using log = await openAuditLog({ directory, gateway: "gw-test" });
  await Promise.all(Array.from({ length: 4_096 }, (_, n) => log.append(intent(`call-${n}`, null))));
  expect(await refused(log, intent("call-more"))).toBe("AUDIT_UNWRITABLE");
  await log.append(outcome("call-7"));
  expect(await refused(log, intent("call-more"))).toBe("written");
});

test("something in the place of the audit directory, or of a chain's files, refuses to open", async () => {
  const directory = scratch();
  writeFileSync(join(directory, "file"), "");
  const open = (path: string) => openAuditLog({ directory: path, gateway: "gw-test" });
  await expect(open(join(directory, "file"))).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  writeFileSync(join(directory, `chain-${"0".repeat(25)}`), "");
  await expect(open(directory)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
});

test("a computer's clock that is put forward or back leaves the log whole, in the order in which things happened [G7]", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const directory = join(scratch(), "audit");
  const jumpsMs = [0, 86_400_000, -30 * 86_400_000, 5_000];
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    for (const [n, jumpMs] of jumpsMs.entries()) {
      vi.setSystemTime(Date.now() + jumpMs);
      await log.append(event({ n }));
    }
  }
  vi.setSystemTime(Date.now() - 365 * 86_400_000);
  {
    await using log = await openAuditLog({ directory, gateway: "gw-next" });
    await log.append(event({ n: jumpsMs.length }));
  }
  expect((await verifyLog(directory)).problems).toEqual([]);
  const facts = recordsOf(onlyChain(directory)).map((it) => it.body.kind === "event" && it.body.facts);
  expect(facts.filter((it) => it && typeof it === "object" && "n" in it)).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })));
});
