import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, statfsSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type AuditLog, openAuditLog } from "../../src/audit/log.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { signedPlace } from "../support/audit-signed.ts";
import { eventually } from "../support/eventually.ts";
import { mountTmpfs } from "../support/file-system.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("skipped: a full and a read-only file system can be made by root only (mount)");

const mounted = (options: string) => mountTmpfs(scratch(), options);
/** Takes all the space there is, but for `leaveBytes`; answers the file that holds it. */
function fill(directory: string, leaveBytes: number): string {
  const path = join(directory, "ballast");
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(path, Buffer.alloc(bavail * bsize - leaveBytes));
  return path;
}

const codeOf = (log: AuditLog, body: RecordBody) =>
  log.append(body).then(
    () => "written",
    (error) => error.code,
  );
const filler = "x".repeat(3_000);
const SEGMENT_BYTES = 30_000;

test.runIf(isRoot)("[G5] a full disk refuses calls, keeps the log whole, and recovers by itself", async () => {
  const directory = mounted("size=4m");
  const audit = join(directory, "audit");
  const written: number[] = [];
  {
    await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
    await log.append(intent("call-1"));
    for (let round = 0; round < 3; round++) {
      const ballast = fill(directory, 40 * 1024);
      const results = [];
      // Groups of eight: the disk runs full in the middle of one.
      for (let group = 0; group < 6; group++) {
        const ids = Array.from({ length: 8 }, (_, at) => round * 1_000 + group * 8 + at);
        const codes = await Promise.all(ids.map((id) => codeOf(log, event({ id, filler }))));
        written.push(...ids.filter((_, at) => codes[at] === "written"));
        results.push(...codes);
      }
      expect(new Set(results)).toEqual(new Set(["written", "AUDIT_UNWRITABLE"]));
      const tooMuch = outcome("call-1", { filler: Array.from({ length: 20 }, () => filler) });
      if (round === 0) expect(await codeOf(log, tooMuch)).toBe("AUDIT_UNWRITABLE");
      unlinkSync(ballast);
      expect(await codeOf(log, event({ id: round * 1_000 + 999 }))).toBe("written");
      written.push(round * 1_000 + 999);
      expect((await verifyLog(audit)).problems).toEqual([]);
    }
  }
  const bodies = recordsOf(onlyChain(audit)).map((it) => it.body);
  const kept = bodies.flatMap((it) => (it.kind === "event" ? [(it.facts as { id: number }).id] : []));
  expect(kept).toEqual(written);
  // The call whose outcome found no room is on record as interrupted, once.
  expect(bodies.filter((it) => it.kind === "outcome")).toMatchObject([{ callId: "call-1", status: "interrupted" }]);
});

test.runIf(isRoot)("[G5] a disk that is full when a new segment is due refuses, and goes on in it later", async () => {
  // Two inodes fewer than needed: making the second segment fails, writing the first doesn't.
  const directory = mounted("size=4m,nr_inodes=6");
  await using log = await openAuditLog({ directory: join(directory, "audit"), gateway: "gw-test", segmentBytes: 500 });
  expect(await codeOf(log, event({ n: 1, filler }))).toBe("written");
  for (let n = 2; n < 4; n++) expect(await codeOf(log, event({ n }))).toBe("AUDIT_UNWRITABLE");
  execFileSync("mount", ["-o", "remount,nr_inodes=20", directory]);
  expect(await codeOf(log, event({ n: 4 }))).toBe("written");
  const bodies = recordsOf(onlyChain(join(directory, "audit"))).map((it) => it.body);
  expect(bodies).toMatchObject([{ facts: { n: 1 } }, { event: "segment-started" }, { facts: { n: 4 } }]);
});

test.runIf(isRoot)("[G5] a file system that turns read-only refuses records and starts, and recovers", async () => {
  const directory = mounted("size=4m");
  const audit = join(directory, "audit");
  const remount = (mode: string) => execFileSync("mount", ["-o", `remount,${mode}`, directory]);
  {
    await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
    await log.append(event({ n: 1 }));
  }
  remount("ro");
  await expect(openAuditLog({ directory: audit, gateway: "gw-2" })).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(openAuditLog({ directory: join(directory, "new"), gateway: "gw-2" })).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
    message: expect.stringContaining("EROFS"),
  });
  // A read-only copy can still be verified.
  expect(await verifyLog(audit)).toMatchObject({ records: 1, problemCount: 0 });
  remount("rw");
  await using log = await openAuditLog({ directory: audit, gateway: "gw-3" });
  await log.append(event({ n: 2 }));
  expect(recordsOf(onlyChain(audit))).toHaveLength(2);
});

test.runIf(isRoot)("a full disk at the start refuses to start, and says so", async () => {
  const directory = mounted("size=1m");
  mkdirSync(join(directory, "audit"));
  {
    await using log = await openAuditLog({ directory: join(directory, "audit"), gateway: "gw-dead" });
    await log.append(intent("call-1"));
  }
  const ballast = fill(directory, 0);
  const before = readFileSync(join(onlyChain(join(directory, "audit")), "000001.jsonl"));
  await expect(openAuditLog({ directory: join(directory, "other"), gateway: "gw-2" })).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
    message: expect.stringContaining("ENOSPC"),
  });
  unlinkSync(ballast);
  await using _log = await openAuditLog({ directory: join(directory, "audit"), gateway: "gw-2" });
  const after = readFileSync(join(onlyChain(join(directory, "audit")), "000001.jsonl"));
  expect(after.subarray(0, before.length).equals(before)).toBe(true);
  expect((await verifyLog(join(directory, "audit"))).problems).toEqual([]);
});

/** Whether the checkpoint behind a full segment is being written: acknowledged records do not wait for it. */
function isSigning(audit: string): boolean {
  const chain = onlyChain(audit);
  const last = segments(chain).at(-1) ?? "";
  const { seq, body } = recordsOf(chain, last).at(-1) ?? {};
  const isSigned = body?.kind === "event" && body.event === "checkpoint";
  const { seq: reached } = JSON.parse(readFileSync(join(chain, "head"), "utf8"));
  return reached !== seq || (statSync(join(chain, last)).size >= SEGMENT_BYTES && !isSigned);
}

test.runIf(isRoot)(
  "[G5] [G33] a sync that fails is a refusal, what it lost is written anew, and nothing is signed that the disk itself has not got",
  async () => {
    // A disk that was promised more space than it has: writes succeed, and are lost when the kernel carries them out.
    const thin = mounted("size=8m");
    const image = join(thin, "disk");
    const directory = scratch();
    const mountDisk = () => execFileSync("mount", ["-o", "loop,errors=continue", image, directory]);
    const unmountDisk = () => execFileSync("umount", [directory]);
    execFileSync("truncate", ["--size=64M", image]);
    execFileSync("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", image]);
    mountDisk();
    onTestFinished(() => void unmountDisk());

    const audit = join(directory, "audit");
    const written: number[] = [];
    // Of every checkpoint that was ever signed; the key lies on a disk that works.
    const notes: string[] = [];
    const { signer: own, keys } = await signedPlace();
    const sign = (text: string) => {
      const note = own.sign(text);
      notes.push(note);
      return note;
    };
    const signer = { ...own, sign };
    const lines = Array.from({ length: 3 }, () => filler);
    const append = async (log: AuditLog, from: number, to: number) => {
      const codes = new Set<string>();
      for (let id = from; id < to; id++) {
        const code = await codeOf(log, event({ id, lines }));
        if (code === "written") written.push(id);
        codes.add(code);
      }
      return codes;
    };
    {
      await using log = await openAuditLog({
        directory: audit,
        gateway: "gw-test",
        signer,
        segmentBytes: SEGMENT_BYTES,
      });
      expect(await append(log, 0, 5)).toEqual(new Set(["written"]));
      for (let round = 1; round <= 3; round++) {
        await eventually(() => expect(isSigning(audit)).toBe(false));
        // Fails where it is the first to be told of an error of the round before.
        spawnSync("sync", ["--file-system", directory]);
        const ballast = fill(thin, 0);
        expect(await append(log, round * 100, round * 100 + 10)).toContain("AUDIT_UNWRITABLE");
        unlinkSync(ballast);
        expect(await append(log, round * 100 + 10, round * 100 + 13)).toEqual(new Set(["written"]));
      }
    }
    // What the page cache says is forgotten; what is read now comes from the disk.
    unmountDisk();
    mountDisk();
    const saved = readSavedCheckpoints(notes.join("")).filter(({ size }) => size > 0);
    expect(saved.length).toBeGreaterThan(3);
    expect(await verifyLog(audit, { keys, saved })).toMatchObject({ problems: [], unproven: 0 });
    const kept = recordsOf(onlyChain(audit)).flatMap(({ body }) =>
      body.kind === "event" && body.event === "process-ended" ? [(body.facts as { id: number }).id] : [],
    );
    expect(kept).toEqual(written);
  },
);
