import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { waitMs } from "../../src/audit/ship/backoff.ts";
import { type Place, readCursor, setCursorAside, writeCursor } from "../../src/audit/ship/cursor.ts";
import { scratch } from "../support/audit.ts";

const CHAIN = "chain-0mwplkhc8c2b36263ab4f8dbd";
const PLACE: Place = { segment: 2, start: 100, end: 300, seq: 7, hash: "a".repeat(64) };

test("a cursor is read as it was written, and there is none at first", async () => {
  const directory = scratch();
  expect(await readCursor(directory)).toEqual(new Map());
  await writeCursor(directory, new Map([[CHAIN, PLACE]]));
  expect(await readCursor(directory)).toEqual(new Map([[CHAIN, PLACE]]));
  expect(readdirSync(directory)).toEqual(["cursor.json"]);
});

test("whatever is not a cursor to the last key is damaged, and set aside", async () => {
  const directory = scratch();
  const path = join(directory, "cursor.json");
  await writeCursor(directory, new Map([[CHAIN, PLACE]]));
  const text = readFileSync(path, "utf8");
  const others = [
    ...["", "{}", "null", text.slice(0, -4), `${text}x`, text.replace('"version": 1', '"version": 2')],
    ...[text.replace('"seq": 7', '"seq": -1'), text.replace('"seq": 7', '"seq": 7, "more": 1')],
    ...[
      text.replace("aaaa", "AAAA"),
      text.replace(CHAIN, "../../../etc"),
      text.replace('"segment": 2', '"segment": 0'),
    ],
  ];
  for (const other of others) {
    writeFileSync(path, other);
    expect([other, await readCursor(directory)]).toEqual([other, "damaged"]);
  }
  await setCursorAside(directory);
  expect(readdirSync(directory)).toEqual(["cursor.damaged"]);
  expect(await readCursor(directory)).toEqual(new Map());
});

test("a cursor that can't be read is no cursor that is missing", async () => {
  const directory = scratch();
  mkdirSync(join(directory, "cursor.json"));
  await expect(readCursor(directory)).rejects.toMatchObject({ code: "EISDIR" });
});

test("back-off doubles up to a minute, with full jitter, and is as long as the receiver asks, up to five minutes", () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), random, (failures, at) => {
      const ms = waitMs(failures, undefined, at);
      expect(ms).toBeGreaterThanOrEqual(0);
      expect(ms).toBeLessThan(Math.min(60_000, 250 * 2 ** (failures - 1)) + 1);
    }),
  );
  expect(waitMs(4, undefined, 0.5)).toBe(1_000);
  expect(waitMs(100, undefined, 0)).toBe(0);
  expect(waitMs(1, 7_000, 0.5)).toBe(7_000);
  expect(waitMs(100, 7_000, 0.5)).toBe(30_000);
  expect(waitMs(1, 86_400_000, 0.5)).toBe(300_000);
});
