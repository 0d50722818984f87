import { appendFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import type { Place } from "../../src/audit/ship/cursor.ts";
import { nextBatch } from "../../src/audit/ship/next-batch.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";

/** A chain of several segments, and how it is read from a place on. */
async function stand(count = 40) {
  const directory = scratch();
  await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 2_000 });
  for (let n = 0; n < count; n += 1) await log.append(event({ n, text: "x".repeat((n * 37) % 300) }));
  const chainDirectory = onlyChain(directory);
  const records = recordsOf(chainDirectory);
  const next = (after?: Place, max = { records: 1_000, bytes: 1_000_000 }, upToSeq = records.length - 1) =>
    nextBatch({ auditDirectory: directory, chain: log.chain, after, upToSeq, max });
  return {
    chain: log.chain,
    records,
    next,
    last: () => join(chainDirectory, segments(chainDirectory).at(-1) ?? ""),
    file: (at: number) => join(chainDirectory, segments(chainDirectory)[at] ?? ""),
    /** All batches one after the other, and what ends them. */
    drain: async (max?: { records: number; bytes: number }) => {
      const batches = [];
      let after: Place | undefined;
      for (;;) {
        const it = await next(after, max);
        if (it === undefined || "damage" in it) return { batches, end: it };
        batches.push(it.batch);
        after = it.place;
      }
    },
  };
}

test("batches of any size, put together, are the chain", async () => {
  const it = await stand();
  const sizes = fc.record({ records: fc.integer({ min: 1, max: 50 }), bytes: fc.integer({ min: 1, max: 5_000 }) });
  await fc.assert(
    fc.asyncProperty(sizes, async (max) => {
      const { batches, end } = await it.drain(max);
      expect(end).toBeUndefined();
      expect(batches.flatMap(({ entries }) => entries.map(({ record }) => record))).toEqual(it.records);
      for (const { chain, entries } of batches) {
        expect(chain).toBe(it.chain);
        expect(entries.length).toBeLessThanOrEqual(max.records);
        const bytes = entries.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
        expect(entries.length === 1 || bytes <= max.bytes).toBe(true);
      }
    }),
    { numRuns: 30 },
  );
});

test("nothing is read beyond where the chain is known to be on disk", async () => {
  const it = await stand();
  const next = await it.next(undefined, undefined, 5);
  if (!next || "damage" in next) throw new Error("no batch");
  expect(next.batch.entries.map(({ record }) => record.seq)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(await it.next(next.place, undefined, 5)).toBeUndefined();
});

test("what is sound before a damage is shipped first; then it stops with the place", async () => {
  const it = await stand();
  const file = it.file(1);
  const text = readFileSync(file, "utf8");
  const lines = text.split("\n");
  const offset = Buffer.byteLength(`${lines.slice(0, 2).join("\n")}\n`);
  writeFileSync(file, text.replace(lines[2] ?? "", (lines[2] ?? "").replace('"ses-1"', '"ses-2"')));
  const { batches, end } = await it.drain({ records: 7, bytes: 100_000 });
  const sound = batches.flatMap(({ entries }) => entries);
  expect(sound.map(({ record }) => record)).toEqual(it.records.slice(0, sound.length));
  expect(end).toEqual({
    damage: `${it.chain}/000002.jsonl, byte ${offset}: its hash is not that of its content`,
  });
});

test("a segment that is missing, a log that was cut, and half a record in the middle are damage", async () => {
  const missing = await stand();
  rmSync(missing.file(2));
  expect((await missing.drain()).end).toEqual({ damage: `${missing.chain}/000003.jsonl is missing` });

  const cut = await stand();
  truncateSync(cut.last(), 0);
  expect((await cut.drain()).end?.damage).toContain("its end was cut off");

  const half = await stand();
  appendFileSync(half.file(0), "{");
  expect((await half.drain()).end?.damage).toMatch(/000001\.jsonl, byte \d+: half a record/);
});

test("a log that was cut below what was shipped, or replaced, is found before anything else is sent", async () => {
  const shipped = async () => {
    const it = await stand();
    const next = await it.next(undefined, { records: 3, bytes: 100_000 });
    if (!next || "damage" in next) throw new Error("no batch");
    return { ...it, place: next.place };
  };
  const cut = await shipped();
  truncateSync(cut.file(0), cut.place.end - 1);
  expect(await cut.next(cut.place)).toEqual({
    damage: expect.stringContaining("record 2, which was shipped, is not there any more"),
  });
  const gone = await shipped();
  rmSync(gone.file(0));
  expect(await gone.next(gone.place)).toEqual({ damage: expect.stringContaining("000001.jsonl, of which record 2") });

  const [mine, other] = [await shipped(), await stand()];
  writeFileSync(mine.file(0), readFileSync(other.file(0)));
  expect(await mine.next(mine.place)).toEqual({ damage: expect.stringContaining("which was shipped") });
});

test("a cursor that points elsewhere is damage, wherever that is", async () => {
  const it = await stand(10);
  const next = await it.next();
  if (!next || "damage" in next) throw new Error("no batch");
  const place = fc.record({ start: fc.nat(5_000), end: fc.nat(1_000_000_000_000) });
  await fc.assert(
    fc.asyncProperty(place, async (other) => {
      fc.pre(other.start !== next.place.start || other.end !== next.place.end);
      expect(await it.next({ ...next.place, ...other })).toHaveProperty("damage");
    }),
  );
});
