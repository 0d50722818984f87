import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { catchUp } from "../../src/audit/index/catch-up.ts";
import { followIndex } from "../../src/audit/index/follow.ts";
import { openIndex } from "../../src/audit/index/open.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { scratch } from "../support/audit.ts";
import { intent } from "../support/audit-bodies.ts";
import { contents, count, fresh, writeCalls } from "../support/audit-index.ts";
import { eventually } from "../support/eventually.ts";

function places() {
  const root = scratch();
  const directory = join(root, "audit");
  mkdirSync(directory);
  return { root, directory, path: join(root, "audit-index", "index.sqlite") };
}

/** Threads that this process makes from now on. */
function threads(): Worker[] {
  const made: Worker[] = [];
  const add = (worker: Worker) => void made.push(worker);
  process.on("worker", add);
  onTestFinished(() => void process.off("worker", add));
  return made;
}

function recordingLog() {
  const warned: string[] = [];
  const informed: object[] = [];
  return {
    warned,
    informed,
    info: (facts: object) => void informed.push(facts),
    warn: (_: object, message: string) => void warned.push(message),
  };
}

async function hasAll(path: string, directory: string): Promise<void> {
  const whole = await fresh(directory);
  await eventually(async () => {
    using index = await openIndex(path);
    expect(contents(index)).toEqual(whole);
  });
}

test("a follower has what a gateway writes, in a thread of its own, and lives through the file's loss", async () => {
  const { directory, path } = places();
  const made = threads();
  const log = recordingLog();
  await using following = followIndex({ path, auditDirectory: directory, log, intervalMs: 5 });
  expect(made).toEqual([]);
  {
    await using writer = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 20_000 });
    const writing = (async () => {
      for (let n = 0; n < 60; n++) await writer.append(intent(`call-${n}`));
    })();
    await eventually(async () => {
      using index = await openIndex(path);
      expect(count(index)).toBeGreaterThan(0);
    });
    await writing;
  }
  await hasAll(path, directory);
  (await openIndex(path, { rebuild: true }))[Symbol.dispose]();
  await hasAll(path, directory);
  expect(made).toHaveLength(1);
  expect(made[0]?.resourceLimits).toMatchObject({ maxOldGenerationSizeMb: 256 });
  await following[Symbol.asyncDispose]();
  expect(made[0]?.threadId).toBe(-1);
  expect(log.warned).toEqual([]);
});

test("a thread that dies is made again, and goes on from what is written", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 100);
  const made = threads();
  const log = recordingLog();
  await using _following = followIndex({ path, auditDirectory: directory, log, intervalMs: 5 });
  for (let n = 0; n < 3; n++) {
    await eventually(() => expect(made).toHaveLength(n + 1));
    await made[n]?.terminate();
  }
  await hasAll(path, directory);
  expect(log.warned).toEqual(Array(3).fill("the thread that indexes the audit log has died, and is made again"));
});

test("whoever ends it while it works waits for it no longer than it takes, and nothing is half", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 300);
  for (let n = 0; n < 3; n++) {
    const made = threads();
    const log = recordingLog();
    {
      await using _following = followIndex({ path, auditDirectory: directory, log, intervalMs: 1 });
      await eventually(() => expect(made).toHaveLength(1));
    }
    expect(made.map((it) => it.threadId)).toEqual([-1]);
    expect(log.warned).toEqual([]);
  }
  using index = await openIndex(path);
  await catchUp(index, directory);
  expect(contents(index)).toEqual(await fresh(directory));
});

test("a file that is damaged is made anew by the thread, and that is said", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 20);
  {
    using index = await openIndex(path);
    await catchUp(index, directory);
  }
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0xa5, 4_096 * 2, 4_096 * 10));
  const log = recordingLog();
  await using _following = followIndex({ path, auditDirectory: directory, log, intervalMs: 5 });
  await eventually(() => expect(log.informed).toEqual([{ why: expect.stringMatching(/damaged/) }]));
  await hasAll(path, directory);
});

test("a follower that can't write warns, tries again ever later, and goes on when it can", async () => {
  const { directory, root } = places();
  await writeCalls(directory, 5);
  writeFileSync(join(root, "file"), "");
  const log = recordingLog();
  const path = join(root, "file", "index.sqlite");
  await using _following = followIndex({ path, auditDirectory: directory, log, intervalMs: 1 });
  await eventually(() => expect(log.warned.length).toBeGreaterThan(10));
  expect(new Set(log.warned)).toEqual(new Set(["the index of the audit log was not brought up to date"]));
  rmSync(join(root, "file"));
  await hasAll(path, directory);
});
