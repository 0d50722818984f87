import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { pruneTemplates } from "../../src/engine/qemu/prune.ts";
import { tryLock } from "../../src/lib/lock.ts";

const MIB = 2 ** 20;
const key = (n: number) => String(n).padStart(32, "0");

/** Templates of a mebibyte, of which number 0 was used last and each other an hour before the one in front of it. */
function templates(count: number): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-prune-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (let n = 0; n < count; n += 1) {
    mkdirSync(join(directory, key(n)));
    writeFileSync(join(directory, key(n), "memory"), Buffer.alloc(MIB, 1));
    const used = new Date(Date.now() - n * 3_600_000);
    utimesSync(join(directory, key(n)), used, used);
  }
  return directory;
}

const freeMiB = (amount: number) => async () => amount * MIB;
const kept = (directory: string) =>
  readdirSync(directory)
    .filter((it) => !it.endsWith(".lock"))
    .toSorted();

test("where the disk has room, as many are kept as are used", async () => {
  const directory = templates(9);
  await pruneTemplates(directory, key(99));
  expect(kept(directory)).toHaveLength(9);
});

test("together they take up a tenth of what is free, and those go that were used least recently", async () => {
  const directory = templates(9);
  await pruneTemplates(directory, key(99), freeMiB(55));
  expect(kept(directory)).toEqual([0, 1, 2, 3, 4].map(key));
});

test("on a full disk three stay beside the one to be made", async () => {
  const directory = templates(9);
  await pruneTemplates(directory, key(99), freeMiB(0));
  expect(kept(directory)).toEqual([0, 1, 2].map(key));
});

test("what was not used for a fortnight goes, whatever room there is", async () => {
  const directory = templates(3);
  const old = new Date(Date.now() - 15 * 24 * 3_600_000);
  utimesSync(join(directory, key(1)), old, old);
  await pruneTemplates(directory, key(99));
  expect(kept(directory)).toEqual([key(0), key(2)]);
});

test("what the dead have left half done goes, and what somebody is making stays", async () => {
  const directory = templates(0);
  const drafts = [`.${key(1)}-tpl-a`, `.${key(2)}-tpl-b`, `.${key(3)}-tpl-c`];
  for (const it of drafts) mkdirSync(join(directory, it));
  using _own = tryLock(join(directory, `${key(1)}.lock`));
  using _other = tryLock(join(directory, `${key(2)}.lock`));
  await pruneTemplates(directory, key(1));
  expect(kept(directory)).toEqual([drafts[1]]);
});
