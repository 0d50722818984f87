import { hash } from "node:crypto";
import { appendFileSync, cpSync, readFileSync, renameSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import canonicalize from "canonicalize";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

/** A closed log of one chain; with four calls three segments, eleven records. */
async function makeLog(calls = 4): Promise<{ directory: string; chain: string }> {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 1_500 });
    for (let call = 0; call < calls; call++) {
      await log.append(intent(`call-${call}`, { argv: ["echo", "naïve \ufffd"] }));
      await log.append(outcome(`call-${call}`));
    }
    await log.append(event({ last: true }));
  }
  return { directory, chain: onlyChain(directory) };
}

const problemsOf = async (path: string) => (await verifyLog(path)).problems;

test("an untouched log verifies, as a directory, as a chain and file by file", async () => {
  const { directory, chain } = await makeLog();
  expect(segments(chain)).toEqual(["000001.jsonl", "000002.jsonl", "000003.jsonl"]);
  expect(await verifyLog(directory)).toMatchObject({ chains: 1, records: 11, problemCount: 0 });
  expect(await verifyLog(chain)).toMatchObject({ chains: 1, records: 11, problemCount: 0 });
  for (const name of segments(chain)) expect(await problemsOf(join(chain, name))).toEqual([]);
  expect(await verifyLog(join(directory, "nothing-yet")).catch((error) => error.code)).toBe("ENOENT");
  expect(await verifyLog(scratch())).toMatchObject({ chains: 0, records: 0, problemCount: 0 });
});

test("[G7] every flipped byte of a log is found, at its line", async () => {
  const { directory, chain } = await makeLog(2);
  for (const name of segments(chain)) {
    const path = join(chain, name);
    const original = readFileSync(path);
    let line = 1;
    for (let at = 0; at < original.length; at++) {
      // All eight bits of every 32nd byte, one bit of the others.
      const bits = at % 32 === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8];
      for (const bit of bits) {
        const changed = Buffer.from(original);
        changed.writeUInt8(original.readUInt8(at) ^ (1 << bit), at);
        writeFileSync(path, changed);
        const [first] = await problemsOf(directory);
        expect([at, bit, first?.file, first?.line]).toEqual([at, bit, name, line]);
      }
      if (original.readUInt8(at) === 10) line++;
    }
    writeFileSync(path, original);
  }
  const head = readFileSync(join(chain, "head"));
  for (let at = 0; at < head.length; at++) {
    const changed = Buffer.from(head);
    changed.writeUInt8(head.readUInt8(at) ^ (1 << (at % 8)), at);
    writeFileSync(join(chain, "head"), changed);
    expect([at, (await problemsOf(directory))[0]?.kind]).toEqual([at, "head"]);
  }
  writeFileSync(join(chain, "head"), head);
  expect(await problemsOf(directory)).toEqual([]);
});

/** Changes the lines of a segment, and answers what verification then says first. */
async function afterEditing(edit: (lines: string[]) => string[], segment = 1) {
  const { directory, chain } = await makeLog();
  const path = join(chain, segments(chain)[segment] ?? "");
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  writeFileSync(
    path,
    edit(lines)
      .map((line) => `${line}\n`)
      .join(""),
  );
  return problemsOf(directory);
}

test("[G7] every removed record is found", async () => {
  for (const segment of [0, 1, 2]) {
    for (let at = 0; at < 3; at++) {
      const problems = await afterEditing((lines) => lines.toSpliced(at, 1), segment);
      expect(problems.length).toBeGreaterThan(0);
      expect(problems[0]?.kind).toMatch(/^(sequence|head)$/);
    }
  }
});

test("[G7] reordered and doubled records are found, with their places", async () => {
  const swapped = await afterEditing(([a = "", b = "", c = "", ...rest]) => [a, c, b, ...rest]);
  expect(swapped[0]).toMatchObject({ kind: "sequence", file: "000002.jsonl", line: 2 });
  const doubled = await afterEditing(([a = "", b = "", ...rest]) => [a, b, b, ...rest]);
  expect(doubled).toMatchObject([{ kind: "sequence", file: "000002.jsonl", line: 3 }]);
  const empty = await afterEditing(([a = "", ...rest]) => [a, "", ...rest]);
  expect(empty).toMatchObject([{ kind: "syntax", file: "000002.jsonl", line: 2 }]);
});

test("[G7] records cut off the end are found, to the last", async () => {
  const { directory, chain } = await makeLog();
  const last = join(chain, "000003.jsonl");
  const lines = readFileSync(last, "utf8").trimEnd().split("\n");
  for (let keep = lines.length - 1; keep >= 0; keep--) {
    writeFileSync(
      last,
      lines
        .slice(0, keep)
        .map((line) => `${line}\n`)
        .join(""),
    );
    expect(await problemsOf(directory)).toMatchObject([{ kind: "head", file: "000003.jsonl", seq: 10 }]);
  }
  unlinkSync(last);
  expect(await problemsOf(directory)).toMatchObject([{ kind: "head", file: "000002.jsonl", seq: 10 }]);
});

test("[G7] a record that was replaced, hash and all, does not fit the chain", async () => {
  const forge = (line: string) => {
    const { hash: _, ...record } = JSON.parse(line);
    record.time = "2020-01-01T00:00:00.000Z";
    return canonicalize({ ...record, hash: hash("sha256", canonicalize(record) ?? "") }) ?? "";
  };
  const middle = await afterEditing((lines) => lines.map((line, at) => (at === 1 ? forge(line) : line)));
  expect(middle).toMatchObject([{ kind: "link", file: "000002.jsonl", line: 3 }]);
  const last = await afterEditing(
    (lines) => lines.map((line, at) => (at === lines.length - 1 ? forge(line) : line)),
    2,
  );
  expect(last).toMatchObject([{ kind: "head", file: "head" }]);
});

test("[G7] removed, swapped, emptied and foreign segments are found", async () => {
  const remove = await makeLog();
  unlinkSync(join(remove.chain, "000002.jsonl"));
  expect(await problemsOf(remove.directory)).toMatchObject([
    { kind: "segment", file: "000002.jsonl", line: 0 },
    { kind: "sequence", file: "000003.jsonl", line: 1 },
  ]);

  const first = await makeLog();
  unlinkSync(join(first.chain, "000001.jsonl"));
  expect((await problemsOf(first.directory))[0]).toMatchObject({ kind: "segment", file: "000001.jsonl" });

  const swap = await makeLog();
  renameSync(join(swap.chain, "000001.jsonl"), join(swap.chain, "x"));
  renameSync(join(swap.chain, "000002.jsonl"), join(swap.chain, "000001.jsonl"));
  renameSync(join(swap.chain, "x"), join(swap.chain, "000002.jsonl"));
  expect((await problemsOf(swap.directory))[0]).toMatchObject({ kind: "sequence", file: "000001.jsonl", line: 1 });

  const double = await makeLog();
  cpSync(join(double.chain, "000003.jsonl"), join(double.chain, "000004.jsonl"));
  expect((await problemsOf(double.directory))[0]).toMatchObject({ kind: "sequence", file: "000004.jsonl", line: 1 });

  const empty = await makeLog();
  truncateSync(join(empty.chain, "000002.jsonl"));
  expect((await problemsOf(empty.directory))[0]).toMatchObject({ kind: "segment", file: "000002.jsonl" });

  const cut = await makeLog();
  const path = join(cut.chain, "000002.jsonl");
  writeFileSync(path, readFileSync(path).subarray(0, -20));
  expect((await problemsOf(cut.directory))[0]).toMatchObject({ kind: "syntax", file: "000002.jsonl" });

  const foreign = await makeLog();
  const other = await makeLog();
  cpSync(join(other.chain, "000002.jsonl"), join(foreign.chain, "000002.jsonl"));
  expect((await problemsOf(foreign.directory))[0]).toMatchObject({ kind: "chain", file: "000002.jsonl", line: 1 });

  const headless = await makeLog();
  unlinkSync(join(headless.chain, "head"));
  expect(await problemsOf(headless.directory)).toMatchObject([{ kind: "head", file: "head" }]);
});

test("half a record at the end is told apart from damage", async () => {
  const { directory, chain } = await makeLog();
  appendFileSync(join(chain, "000003.jsonl"), '{"body":{"kind":"ev');
  expect(await problemsOf(directory)).toMatchObject([{ kind: "torn", file: "000003.jsonl", line: 5 }]);
});

test("one damaged record is one problem, not one for each record behind it", async () => {
  const { directory, chain } = await makeLog();
  const path = join(chain, "000001.jsonl");
  writeFileSync(path, readFileSync(path, "utf8").replace("call-0", "call-9"));
  expect(await problemsOf(directory)).toMatchObject([{ kind: "hash", file: "000001.jsonl", line: 1, seq: 0 }]);
  writeFileSync(path, readFileSync(path, "utf8").replace('"kind"', '"kind'));
  expect(await problemsOf(directory)).toMatchObject([{ kind: "syntax", line: 1 }]);
});

test("problems are kept up to a bound, and counted beyond it", async () => {
  const { directory, chain } = await makeLog();
  appendFileSync(join(chain, "000003.jsonl"), "x\n".repeat(3_000));
  const result = await verifyLog(directory);
  expect(result.problems).toHaveLength(1_000);
  expect(result.problemCount).toBe(3_000);
});

test("a log verifies while it is written", async () => {
  const directory = scratch();
  await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 20_000 });
  let writing = true;
  const writers = Array.from({ length: 8 }, async () => {
    for (let at = 0; at < 150; at++) await log.append(event({ at, filler: "x".repeat(at * 10) }));
  });
  const done = Promise.all(writers).then(() => {
    writing = false;
  });
  while (writing) expect((await verifyLog(directory)).problems).toEqual([]);
  await done;
  const { records } = await verifyLog(directory);
  expect(records).toBe(recordsOf(onlyChain(directory)).length);
  expect(chains(directory)).toHaveLength(1);
});
