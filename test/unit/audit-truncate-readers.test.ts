import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { measureLog } from "../../src/audit/extent.ts";
import { historyOf } from "../../src/audit/history.ts";
import { catchUp } from "../../src/audit/index/catch-up.ts";
import { openIndex } from "../../src/audit/index/open.ts";
import type { Position } from "../../src/audit/line.ts";
import { checkpointsOf, proveConsistency, proveInclusion, verifyProof } from "../../src/audit/proof/prove.ts";
import { rotateKey } from "../../src/audit/proof/rotate.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { followLog, readChain, tailLog } from "../../src/audit/read.ts";
import type { AuditRecord } from "../../src/audit/record.ts";
import { confirmed, type Place, writeCursor } from "../../src/audit/ship/cursor.ts";
import { measureBacklog } from "../../src/audit/ship/lag.ts";
import { type NextBatch, nextBatch } from "../../src/audit/ship/next-batch.ts";
import { sinkDirectory } from "../../src/audit/ship/shipping.ts";
import { statusOf } from "../../src/audit/ship/status.ts";
import { compareStore } from "../../src/audit/sinks/compare-store.ts";
import type { Store } from "../../src/audit/sinks/postgres-read.ts";
import { verifyStore } from "../../src/audit/sinks/verify-store.ts";
import { storyOf } from "../../src/audit/story.ts";
import { readShipped } from "../../src/audit/truncate/shipped.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { truncationLines } from "../../src/cli/audit-text.ts";
import { linesFile, recordsOf, scratch, segments } from "../support/audit.ts";
import { contents, fresh } from "../support/audit-index.ts";
import { makeSignedLog, writeCalls } from "../support/audit-signed.ts";
import { truncate, truncated } from "../support/audit-truncate.ts";

test("an index forgets what was removed, and is what it would be if it were made anew", async () => {
  const log = await makeSignedLog(12);
  using index = await openIndex(join(scratch(), "index.sqlite"));
  const changed: string[] = [];
  const catchUpNow = () => catchUp(index, log.directory, { onChanged: (it) => changed.push(it) });
  await catchUpNow();
  await truncated(log);
  await catchUpNow();
  expect(contents(index)).toEqual(await fresh(log.directory));
  await writeCalls(log, 9, "gw-a");
  await catchUpNow();
  // Half of what is there, while more is written.
  const middle = recordsOf(log.chain, segments(log.chain)[2]).at(-1);
  await truncate(log, { beforeMs: Date.parse(middle?.time ?? "") + 1 });
  await writeCalls(log, 4, "gw-b");
  await catchUpNow();
  expect(contents(index)).toEqual(await fresh(log.directory));
  expect(changed).toEqual([]);
  // And one that was far behind.
  await writeCalls(log, 9, "gw-c");
  await truncated(log, 2);
  await catchUpNow();
  expect(contents(index)).toEqual(await fresh(log.directory));
});

test("an index says what is gone besides what was removed", async () => {
  const log = await makeSignedLog(12);
  using index = await openIndex(join(scratch(), "index.sqlite"));
  const changed: string[] = [];
  const catchUpNow = () => catchUp(index, log.directory, { onChanged: (it) => changed.push(it) });
  await truncated(log, 9);
  await catchUpNow();
  rmSync(join(log.chain, segments(log.chain)[0] ?? ""));
  await catchUpNow();
  expect(changed).toEqual([basename(log.chain)]);
  expect(contents(index)).toEqual(await fresh(log.directory));
});

test("readers begin with the first record that is there", async () => {
  const log = await makeSignedLog(12);
  await truncated(log, 3);
  const records = recordsOf(log.chain);
  const [first] = records;
  const entries = await Array.fromAsync(readChain(log.chain, () => true));
  expect(entries.map((it) => it.record.seq)).toEqual(records.map((it) => it.seq));
  expect((await tailLog(log.directory, 10_000)).entries).toHaveLength(records.length);
  const followed = followLog(log.directory, new Map());
  expect((await followed.next()).value?.record.seq).toBe(first?.seq);
  await followed.return(undefined);
  expect(await measureLog(log.directory)).toMatchObject({ records: records.length, oldest: first?.time });
  const history = historyOf(log.directory, {});
  await Array.fromAsync(history.decisions);
  expect(history.reading.damaged).toBe(0);
  expect(await storyOf(log.directory, "call-gw-test-0")).toBeUndefined();
  expect(await storyOf(log.directory, "ses-1")).toBeDefined();
});

test("what is there is proved by what the log says of what was removed; the rest cannot be", async () => {
  const log = await makeSignedLog(14);
  const { removed } = await truncated(log, 5);
  const missing = (removed?.upToSeq ?? 0) + 1;
  const { checkpoints } = await checkpointsOf(log.chain);
  for (const { seq } of recordsOf(log.chain)) {
    for (const { size } of checkpoints.filter((it) => it.size > seq)) {
      const proof = await proveInclusion(log.chain, seq, size);
      expect(verifyProof(proof, log.keys)).toMatchObject({ size, record: { seq } });
    }
  }
  for (const [at, { size: first }] of checkpoints.entries()) {
    for (const { size } of checkpoints.slice(at)) {
      expect(verifyProof(await proveConsistency(log.chain, first, size), log.keys)).toMatchObject({ olderSize: first });
    }
  }
  await expect(proveInclusion(log.chain, missing - 1)).rejects.toMatchObject({
    code: "INVALID_ARGUMENTS",
    message: expect.stringContaining(`records up to ${missing - 1} were removed`),
  });
});

test("a receiver that has nothing begins with the first record that is there, and one that is behind says how to go on", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const last = recordsOf(log.chain).at(-1);
  const ship = (after: Parameters<typeof nextBatch>[0]["after"]) =>
    nextBatch({
      ...{ auditDirectory: log.directory, chain, after, upToSeq: Number.POSITIVE_INFINITY },
      max: { records: 4, bytes: 1_000_000 },
    });
  const early = (await ship(undefined)) as NextBatch;
  await truncated(log, 2);
  const [first] = recordsOf(log.chain);
  const next = (await ship(undefined)) as NextBatch;
  expect(next.batch.entries.map((it) => it.record.seq)).toEqual([0, 1, 2, 3].map((it) => (first?.seq ?? 0) + it));
  const behind = (await ship(next.place)) as NextBatch;
  expect(behind.batch.entries[0].record.seq).toBe((first?.seq ?? 0) + 4);
  expect([early, next, behind].map((it) => confirmed(it.place))).toEqual([4, 4, 8]);
  const sink = sinkDirectory(log.data, "central");
  mkdirSync(sink, { recursive: true });
  await writeCursor(sink, new Map([[chain, behind.place]]));
  const status = await statusOf("central", { directory: sink, auditDirectory: log.directory });
  expect(status.delivered).toBe(8);
  expect(status.delivered + status.lag.records).toBe(recordsOf(log.chain).length);
  const { records, isUnknown } = await measureBacklog(log.directory, new Map());
  expect({ records, isUnknown }).toEqual({ records: recordsOf(log.chain).length, isUnknown: false });
  expect(await ship(early.place)).toEqual({ damage: expect.stringContaining("remove `cursor.json`") });
  expect(last?.seq).toBeGreaterThan(4);
});

const placesOf = (log: { data: string; directory: string }) => ({
  dataDirectory: log.data,
  auditDirectory: log.directory,
});

/** Of the first record of a segment. */
function placeAt(chain: string, name = ""): Place {
  const [line = ""] = readFileSync(join(chain, name), "utf8").split("\n");
  const { seq, hash } = JSON.parse(line) as AuditRecord;
  return { segment: Number.parseInt(name, 10), start: 0, end: Buffer.byteLength(line) + 1, seq, hash };
}

test("what a receiver has not confirmed stays, and so does all of it for one that has no cursor or a damaged one", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const names = segments(log.chain);
  const shipped = async () => (await readShipped(placesOf(log), ["central"])).isShipped;
  expect(await truncate(log, { isShipped: await shipped() })).toEqual([{ chain, kept: "unshipped" }]);
  const place = sinkDirectory(log.data, "central");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "cursor.json"), "{");
  expect(await truncate(log, { isShipped: await shipped() })).toEqual([{ chain, kept: "unshipped" }]);
  await writeCursor(place, new Map([[chain, placeAt(log.chain, names[2])]]));
  const [result] = await truncate(log, { isShipped: await shipped() });
  expect(result?.removed?.segments).toEqual([1, 2]);
  expect(readdirSync(log.chain)).not.toContain("000002.jsonl");
  expect(readdirSync(log.chain)).toContain("000003.jsonl");
});

test("what a receiver of other settings has not confirmed stays as well, and a person is told whose folder to remove", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const place = sinkDirectory(log.data, "central");
  mkdirSync(place, { recursive: true });
  mkdirSync(sinkDirectory(log.data, "never-shipped"));
  await writeCursor(place, new Map([[chain, placeAt(log.chain, segments(log.chain)[0])]]));
  const { isShipped, slowest } = await readShipped(placesOf(log), []);
  expect(await truncate(log, { isShipped })).toEqual([{ chain, kept: "unshipped" }]);
  expect(slowest(chain)).toEqual(["central"]);
  rmSync(place, { recursive: true });
  const retired = await readShipped(placesOf(log), []);
  expect((await truncate(log, { isShipped: retired.isShipped }))[0]?.removed).toBeDefined();
});

test("what came into the place of what a receiver has confirmed stays, however far its cursor is", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const sink = sinkDirectory(log.data, "central");
  mkdirSync(sink, { recursive: true });
  const last = placeAt(log.chain, segments(log.chain).at(-1));
  const { isShipped } = await readShipped(placesOf(log), ["central"]);
  expect(isShipped(chain, 1)).toBe(false);
  for (const [is, place] of [
    [true, last],
    [false, { ...last, hash: "0".repeat(64) }],
    [false, { ...last, segment: 999 }],
  ] as const) {
    await writeCursor(
      sink,
      new Map([
        [chain, place],
        ["chain-0mwplkhc8c2b36263ab4f8dbd", last],
      ]),
    );
    const shipped = await readShipped(placesOf(log), ["central"]);
    expect([place, shipped.isShipped(chain, 1)]).toEqual([place, is]);
  }
});

/** What a central store gives back. */
function storeOf(chain: string, lines: readonly Buffer[], dropped: Position = NOTHING): Store {
  const records = lines.map((it) => JSON.parse(it.toString()) as AuditRecord);
  const last = records.at(-1);
  return {
    chains: async () => [{ chain, reached: { seq: last?.seq ?? -1, hash: last?.hash ?? "" }, dropped }],
    rows: async function* () {
      for (const [at, line] of lines.entries()) yield { chain, line, columns: { seq: records[at]?.seq } };
    },
    lines: async function* () {
      yield* lines;
    },
    removals: async () => lines.filter((it) => it.includes('"event":"log-truncated"')).reverse(),
    hashes: async function* () {
      for (const { seq, hash } of records) yield { seq, hash };
    },
    [Symbol.dispose]: () => undefined,
  };
}
const NOTHING = { seq: -1, hash: "0".repeat(64) };

const linesOf = (chain: string) =>
  segments(chain).flatMap((it) => {
    const lines = readFileSync(join(chain, it), "utf8").split("\n").slice(0, -1);
    return lines.map((line) => Buffer.from(line));
  });
const proofProblems = async (store: Store, options: Parameters<typeof verifyStore>[1]) =>
  (await verifyStore(store, options)).problems.filter((it) => it.kind !== "column");

test("signatures in a store are followed from a key whose replacement was removed before the store was set up", async () => {
  const log = await makeSignedLog(4);
  const { directory, keyFile } = log;
  let signer = log.signer;
  for (const gateway of ["gw-1", "gw-2"]) {
    await rotateKey({ auditDirectory: directory, keyFile, gateway, hostName: "test-host" });
    signer = await openSigner(keyFile, "test-host");
    await writeCalls({ ...log, signer }, 4, gateway);
  }
  await truncate({ directory, signer });
  const chain = basename(log.chain);
  expect(await proofProblems(storeOf(chain, linesOf(log.chain)), { keys: log.keys })).toEqual([]);
  expect((await verifyLog(linesFile(log.chain), { keys: log.keys })).problems).toEqual([]);
});

test("[G7] a removal that the log alone tells of is none for a store, until its record is shipped", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const all = linesOf(log.chain);
  await truncated(log, 2);
  const options = { confirmed: new Map(), isAlone: true };
  const { problems } = await compareStore(log.directory, storeOf(chain, all), options);
  const gone = JSON.parse(linesOf(log.chain)[0]?.toString() ?? "").seq;
  expect(problems).toHaveLength(gone);
  expect(problems[0]).toMatchObject({ kind: "missing", message: expect.stringContaining("counts once it is shipped") });
  const shipped = [...all, ...linesOf(log.chain).slice(all.length - gone)];
  expect((await compareStore(log.directory, storeOf(chain, shipped), options)).problems).toEqual([]);
});

test("a store tells what was removed by rule and what can't be compared, and what its retention has left too little of", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const { checkpoints } = await checkpointsOf(log.chain);
  const saved = readSavedCheckpoints(checkpoints.map((it) => it.note).join(""));
  await truncated(log, 2);
  const lines = linesOf(log.chain);
  const first = recordsOf(log.chain)[0]?.seq ?? 0;
  const incomparable = saved.filter((it) => it.size < first).length;
  const told = await verifyStore(storeOf(chain, lines), { keys: log.keys, saved });
  expect(told).toMatchObject({ truncated: { [chain]: { records: first } }, incomparable });
  expect(truncationLines(told)).toHaveLength(2);
  const { seq, hash } = recordsOf(log.chain).at(-3) ?? NOTHING;
  const left = storeOf(chain, lines.slice(-2), { seq, hash });
  expect(await proofProblems(left, { keys: log.keys, nowMs: Date.now() + 86_400_000 })).toMatchObject([
    { kind: "unsigned", message: expect.stringContaining("retention cut between its last two checkpoints") },
  ]);
});

test("a central store may have what was removed here, and may begin where a chain begins", async () => {
  const log = await makeSignedLog(12);
  const chain = basename(log.chain);
  const all = linesOf(log.chain);
  await truncated(log, 2);
  const left = linesOf(log.chain);
  const more = left.slice(all.length - Number(JSON.parse(left[0]?.toString() ?? "").seq));
  const options = { confirmed: new Map([[chain, JSON.parse(left.at(-1)?.toString() ?? "")]]), isAlone: true };
  expect((await compareStore(log.directory, storeOf(chain, [...all, ...more]), options)).problems).toEqual([]);
  expect((await compareStore(log.directory, storeOf(chain, left), options)).problems).toEqual([]);
  const shorter = [...all, ...more].toSpliced(all.length - 1, 1);
  expect((await compareStore(log.directory, storeOf(chain, shorter), options)).problems).toMatchObject([
    { kind: "missing", seq: all.length - 1 },
  ]);
  const problemsOf = async (lines: readonly Buffer[]) =>
    (await verifyStore(storeOf(chain, lines))).problems.filter((it) => it.kind !== "column").map((it) => it.kind);
  expect(await problemsOf([...all, ...more])).toEqual([]);
  expect(await problemsOf(left)).toEqual([]);
  expect(await problemsOf(left.slice(1))).toEqual(["sequence", "root", "segment"]);
  // Whoever removed the beginning of a store's chain, and left no record of it.
  const second = all.findIndex((it) => it.includes("segment-started"));
  expect(await problemsOf(all.slice(second))).toEqual(["segment"]);
});
