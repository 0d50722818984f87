import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { parseCheckpoint } from "../../src/audit/proof/checkpoint.ts";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import type { Signer } from "../../src/audit/proof/signer.ts";
import { EMPTY_TREE, grown, leafHash, rootOf } from "../../src/audit/proof/tree.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { onlyChain, recordsOf, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { forgetClose, makeSignedLog, rewriteHistory, signedPlace, writeCalls } from "../support/audit-signed.ts";
import { eventually } from "../support/eventually.ts";

const LATER_MS = Date.now() + 3_600_000;

/** Makes the next write to the newest segment fail, and leave something of itself there. */
function failNextWrite(directory: string): void {
  const chain = onlyChain(directory);
  appendFileSync(join(chain, segments(chain).at(-1) ?? ""), '{"body":');
}

/** The root over the first lines of a log as they are on disk. */
function rootOnDisk(directory: string, size: number): Buffer | undefined {
  const chain = onlyChain(directory);
  const lines = segments(chain).flatMap((it) => readFileSync(join(chain, it), "utf8").split("\n").slice(0, -1));
  if (lines.length < size) return undefined;
  return rootOf(lines.slice(0, size).reduce((tree, line) => grown(tree, leafHash(Buffer.from(line))), EMPTY_TREE));
}

/** As the signer; `onSign` is told before each signature of records. */
function watched(signer: Signer, onSign: (size: number, root: Buffer, note: string) => void): Signer {
  return {
    ...signer,
    sign: (text) => {
      const note = signer.sign(text);
      const { size, root } = parseCheckpoint(text) ?? { size: -1, root: Buffer.alloc(0) };
      if (size > 0) onSign(size, root, note);
      return note;
    },
  };
}

test("[G33] however often writes fail, nothing is signed that is not on disk, and no size has two roots", async () => {
  const { directory, signer, keys } = await signedPlace();
  const notes: string[] = [];
  let isFailing = true;
  const watching = watched(signer, (size, root, note) => {
    expect(rootOnDisk(directory, size)).toEqual(root);
    notes.push(note);
    // The checkpoint's own record.
    if (isFailing && notes.length % 2 === 0) failNextWrite(directory);
  });
  {
    // Every third group or so fills a segment, so that a checkpoint is due behind it.
    await using log = await openAuditLog({ directory, gateway: "gw-test", signer: watching, segmentBytes: 2_500 });
    const codes = new Set<string>();
    for (let round = 0; round < 60; round++) {
      if (round % 4 === 1) failNextWrite(directory);
      const code = await log.append(event({ round })).then(
        () => "written",
        (error) => error.code,
      );
      codes.add(code);
    }
    expect(codes).toEqual(new Set(["written", "AUDIT_UNWRITABLE"]));
    isFailing = false;
    await log.append(event({ last: true }));
  }
  expect(notes.length).toBeGreaterThan(10);
  const saved = readSavedCheckpoints(notes.join(""));
  expect(await verifyLog(directory, { keys, saved, nowMs: LATER_MS })).toMatchObject({ problems: [], unproven: 0 });
});

test("a checkpoint that can't be written refuses nobody, and is tried again without another record", async () => {
  const { directory, signer, keys } = await signedPlace();
  let failures = 2;
  const failing = {
    ...signer,
    remember: async (chain: string, note: string) => {
      if (!note.includes("\n0\n") && failures-- > 0) throw new Error("no room");
      await signer.remember(chain, note);
    },
  };
  await using log = await openAuditLog({ directory, gateway: "gw-test", signer: failing, checkpointMs: 5 });
  await log.append(event({ n: 1 }));
  const last = () => recordsOf(onlyChain(directory)).at(-1)?.body;
  await eventually(() => expect(last()).toMatchObject({ event: "checkpoint" }));
  expect(failures).toBeLessThan(0);
  expect(await verifyLog(directory, { keys })).toMatchObject({ problemCount: 0, unproven: 0 });
});

test("[G33] a signature is remembered before anybody can see it", async () => {
  const { directory, signer } = await signedPlace();
  const seen: string[] = [];
  const watching: Signer = {
    ...signer,
    remember: async (chain, note) => {
      await signer.remember(chain, note);
      const { checkpoints } = await checkpointsOf(onlyChain(directory)).catch(() => ({ checkpoints: [] }));
      seen.push(...checkpoints.map((it) => it.note).filter((it) => it === note));
    },
  };
  await using log = await openAuditLog({ directory, gateway: "gw-test", signer: watching, segmentBytes: 1 });
  for (let n = 0; n < 3; n++) await log.append(event({ n }));
  expect(seen).toEqual([]);
});

test("a gateway that died between signing and writing the checkpoint is followed by one that signs the same records", async () => {
  const log = await makeSignedLog();
  forgetClose(log.data);
  const size = recordsOf(log.chain).length;
  rewriteHistory(log.chain, (body, seq) => (seq === size - 1 ? undefined : body));
  const remembered = readSavedCheckpoints(readFileSync(join(log.data, "keys", "signed", basename(log.chain)), "utf8"));
  expect(remembered[0]?.size).toBe(size - 1);
  await writeCalls(log, 0, "gw-idle");
  await writeCalls(log, 1, "gw-next");
  const options = { keys: log.keys, saved: remembered, nowMs: LATER_MS };
  expect(await verifyLog(log.directory, options)).toMatchObject({ problems: [], unproven: 0 });
});

test("no checkpoint is shown that stands behind the head while a gateway writes the chain", async () => {
  const { directory, signer } = await signedPlace();
  const heads: Buffer[] = [];
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test", signer, segmentBytes: 1 });
    const chain = onlyChain(directory);
    const head = join(chain, "head");
    for (let n = 0; n < 3; n++) {
      await log.append(event({ n }));
      const count = n + 1;
      await eventually(async () => expect((await checkpointsOf(chain)).checkpoints).toHaveLength(count));
      heads.push(readFileSync(head));
    }
    // As it is between a write and its sync.
    writeFileSync(head, heads[1] ?? "");
    expect((await checkpointsOf(chain)).checkpoints).toHaveLength(2);
    writeFileSync(head, heads[2] ?? "");
  }
  const chain = onlyChain(directory);
  const { length } = (await checkpointsOf(chain)).checkpoints;
  writeFileSync(join(chain, "head"), heads[1] ?? "");
  expect((await checkpointsOf(chain)).checkpoints).toHaveLength(length);
});
