import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkBodies } from "../../src/audit/bodies/check.ts";
import { eraseBodies } from "../../src/audit/bodies/erase.ts";
import type { Room } from "../../src/audit/bodies/room.ts";
import { type AuditLog, openAuditLog } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { scratch } from "../support/audit.ts";
import { intent } from "../support/audit-bodies.ts";
import { filesBelow, type TestBodies, testBodies } from "../support/bodies.ts";
import { mountTmpfs } from "../support/file-system.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("skipped: a full and a read-only file system can be made by root only (mount)");

const mounted = (options: string) => mountTmpfs(scratch(), options);
const NO_LIMIT: Room = { take: async () => undefined };

/** Keeps a body of so many bytes and records it, as a call does; or answers why not. */
async function keepOne({ bodies }: TestBodies, log: AuditLog, callId: string, bytes = 60_000): Promise<string> {
  const content = randomBytes(bytes).toString("base64");
  try {
    const kept = await bodies.keep({ sessionId: "ses-1", callId, tool: "exec", name: "arguments" }, { content });
    await log.append({ ...intent(callId), decision: "deny", bodies: { arguments: kept } });
    return "kept";
  } catch (error) {
    return error instanceof Error ? error.message : "no error";
  }
}

test.runIf(isRoot)(
  "[G5] bodies leave room for the log on a disk that fills up, and go on when something is erased",
  async () => {
    const data = mounted("size=8m");
    const audit = join(data, "audit");
    const made = testBodies(data);
    await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
    const answers: string[] = [];
    for (let at = 0; at < 200 && !answers.some((it) => it !== "kept"); at++)
      answers.push(await keepOne(made, log, `call-${at}`));
    expect(answers.length).toBeGreaterThan(50);
    expect(answers.at(-1)).toContain("almost full");
    const { bavail, bsize, blocks } = statfsSync(data);
    expect(bavail).toBeGreaterThan(blocks / 20 - (64 * 1024) / bsize);
    // What is refused is still on record, and what there is can be erased.
    await log.append({ ...intent("call-refused"), decision: "deny" });
    await eraseBodies({ places: made.places, audit: log, why: "person", erases: () => true });
    expect(filesBelow(made.places.directory)).toEqual([]);
    expect(await keepOne(made, log, "call-later")).toBe("kept");
    expect(await verifyLog(audit)).toMatchObject({ problemCount: 0 });
    expect(await checkBodies(audit, made.places)).toMatchObject({ kept: 1, problemCount: 0 });
  },
);

test.runIf(isRoot)(
  "[G5] on a disk that others fill, a body that can't be written is refused and leaves nothing behind",
  async () => {
    const data = mounted("size=4m");
    const audit = join(data, "audit");
    const made = testBodies(data, { room: NO_LIMIT });
    await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
    expect(await keepOne(made, log, "call-0")).toBe("kept");
    const ballast = join(data, "ballast");
    const { bavail, bsize } = statfsSync(data);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - 40 * 1024));
    expect(await keepOne(made, log, "call-1")).toBe("the bodies of calls cannot be kept (ENOSPC)");
    expect(filesBelow(made.places.directory)).toHaveLength(1);
    unlinkSync(ballast);
    expect(await keepOne(made, log, "call-1")).toBe("kept");
    expect(await checkBodies(audit, made.places)).toMatchObject({ kept: 2, unnamed: 0, problemCount: 0 });
  },
);

test.runIf(isRoot)(
  "[G5] on a file system that turns read-only bodies are refused, and nothing is half erased",
  async () => {
    const data = mounted("size=4m");
    const audit = scratch();
    const made = testBodies(data);
    const remount = (mode: string) => execFileSync("mount", ["-o", `remount,${mode}`, data]);
    await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
    expect(await keepOne(made, log, "call-0")).toBe("kept");
    remount("ro");
    expect(await keepOne(made, log, "call-1")).toBe("the bodies of calls cannot be kept (EROFS)");
    const erasing = eraseBodies({ places: made.places, audit: log, why: "person", erases: () => true });
    await expect(erasing).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
    remount("rw");
    expect(await keepOne(made, log, "call-1")).toBe("kept");
  },
);
