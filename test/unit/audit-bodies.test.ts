import { randomBytes } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { BodyName } from "../../src/audit/bodies/bodies.ts";
import { checkBodies } from "../../src/audit/bodies/check.ts";
import { eraseBodies } from "../../src/audit/bodies/erase.ts";
import { overwriteKey } from "../../src/audit/bodies/key-file.ts";
import { endOfDayMs, keptPath, keyPath, listKeys } from "../../src/audit/bodies/places.ts";
import { bodiesOfCall, readBody } from "../../src/audit/bodies/read.ts";
import { createRoom } from "../../src/audit/bodies/room.ts";
import { type AuditLog, openAuditLog } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { GatewayError } from "../../src/errors.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { intent, outcome } from "../support/audit-bodies.ts";
import { filesBelow, type TestBodies, testBodies } from "../support/bodies.ts";

const ARGUMENTS = { path: "/workspace/a.txt", content: "what was written\n".repeat(2_000) };
const RESULT = { text: "done", structured: { bytes: 34_000 } };

async function keepCall({ bodies }: TestBodies, log: AuditLog, callId: string, sessionId = "ses-1"): Promise<void> {
  const keep = (name: BodyName, content: unknown) => bodies.keep({ sessionId, callId, tool: "exec", name }, content);
  await log.append({ ...intent(callId), sessionId, bodies: { arguments: await keep("arguments", ARGUMENTS) } });
  await log.append({ ...outcome(callId), sessionId, bodies: { result: await keep("result", RESULT) } });
}

/** A log, and the bodies that it names, of three calls in two sessions. */
async function kept() {
  const data = scratch();
  const audit = join(data, "audit");
  const made = testBodies(data);
  const log = await openAuditLog({ directory: audit, gateway: "gw-test" });
  const owned = new AsyncDisposableStack();
  owned.use(log);
  await keepCall(made, log, "call-1");
  await keepCall(made, log, "call-2");
  await keepCall(made, log, "call-3", "ses-2");
  const contents = async (callId: string) => {
    const named = (await bodiesOfCall(audit, callId)) ?? [];
    return await Promise.all(named.map(async (it) => JSON.parse((await readBody(made.places, it)).toString())));
  };
  const file = (callId: string, name: BodyName) => {
    const { places } = made;
    const found = filesBelow(places.directory).find((it) => it.endsWith(`${callId}.${name}`));
    return join(places.directory, found ?? "");
  };
  return { data, audit, log, ...made, contents, file, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const ofSession = (sessionId: string) => (keyId: string) => keyId.startsWith(`${sessionId}/`);

test("[G35] bodies are kept in files of their owner's alone, encrypted, one key a session, and the log names them", async () => {
  await using log = await kept();
  const { places } = log;
  expect(filesBelow(places.directory)).toHaveLength(6);
  expect(filesBelow(places.keysDirectory)).toHaveLength(2);
  for (const directory of [places.directory, places.keysDirectory]) {
    for (const name of filesBelow(directory)) {
      expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
      expect(statSync(dirname(join(directory, name))).mode & 0o777).toBe(0o700);
      expect(readFileSync(join(directory, name)).includes("what was written")).toBe(false);
    }
  }
  expect(await log.contents("call-1")).toEqual([ARGUMENTS, RESULT]);
  expect(await bodiesOfCall(log.audit, "call-9")).toBeUndefined();
  expect(await verifyLog(log.audit)).toMatchObject({ problemCount: 0 });
  expect(await checkBodies(log.audit, places)).toMatchObject({ kept: 6, erased: 0, unnamed: 0, problemCount: 0 });
});

test("a file that is changed, swapped or gone is found, and not read", async () => {
  await using log = await kept();
  const [one, two, three] = [log.file("call-1", "result"), log.file("call-2", "result"), log.file("call-3", "result")];
  const whole = readFileSync(one);
  // As long as it was.
  copyFileSync(two, one);
  rmSync(three);
  const changed = Buffer.from(readFileSync(two));
  changed.writeUInt8(changed.readUInt8(100) ^ 1, 100);
  writeFileSync(two, changed);
  const check = await checkBodies(log.audit, log.places);
  expect(check).toMatchObject({ kept: 3, erased: 0, problemCount: 3 });
  expect(check.problems.map(({ callId, name, message }) => [callId, name, message])).toEqual([
    ["call-1", "result", "its file is not what the log says"],
    ["call-2", "result", "its file is not what the log says"],
    ["call-3", "result", "its file is gone, and no record says that it was erased"],
  ]);
  for (const callId of ["call-1", "call-2", "call-3"])
    await expect(log.contents(callId)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  writeFileSync(one, whole);
  expect(await log.contents("call-1")).toEqual([ARGUMENTS, RESULT]);
});

test("[G35] erasing makes the bodies of a session unreadable, and leaves the log whole and the others as they are", async () => {
  await using log = await kept();
  const [key = ""] = filesBelow(join(log.places.keysDirectory, "ses-1"));
  const bytes = filesBelow(join(log.places.directory, "ses-1"))
    .map((it) => statSync(join(log.places.directory, "ses-1", it)).size)
    .reduce((a, b) => a + b);
  const erased = await eraseBodies({
    places: log.places,
    audit: log.log,
    why: "person",
    by: "local:ada",
    erases: ofSession("ses-1"),
  });
  expect(erased).toEqual({ keys: 1, bodies: 4, bytes });
  expect(existsSync(join(log.places.directory, "ses-1"))).toBe(false);
  expect(existsSync(join(log.places.keysDirectory, "ses-1"))).toBe(false);
  expect(recordsOf(onlyChain(log.audit)).at(-1)?.body).toEqual({
    kind: "event",
    event: "bodies-erased",
    facts: { why: "person", by: "local:ada", keyIds: [`ses-1/${key}`], bodies: 4, bytes },
  });
  await expect(log.contents("call-1")).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  expect(await log.contents("call-3")).toEqual([ARGUMENTS, RESULT]);
  expect((await verifyLog(log.audit)).problems).toEqual([]);
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 2, erased: 4, problemCount: 0 });
  // Whoever goes on in the session does so with another key.
  await keepCall(log, log.log, "call-4");
  expect(await log.contents("call-4")).toEqual([ARGUMENTS, RESULT]);
  expect(filesBelow(join(log.places.keysDirectory, "ses-1"))).not.toContain(key);
  rmSync(log.file("call-4", "result"));
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 3, erased: 4, problemCount: 1 });
});

test("nothing is erased that could not be put on record", async () => {
  await using log = await kept();
  const audit = {
    append: async () => {
      throw new GatewayError("AUDIT_UNWRITABLE");
    },
  };
  const erasing = eraseBodies({ places: log.places, audit, why: "retention", erases: () => true });
  await expect(erasing).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(await log.contents("call-1")).toEqual([ARGUMENTS, RESULT]);
});

test("an erasure that is interrupted after any of its steps is finished by the next one", async () => {
  for (const steps of [1, 2, 3]) {
    await using log = await kept();
    const [keyId = ""] = (await listKeys(log.places)).keyIds;
    // On record already; what the process did before it died:
    await log.log.append({
      kind: "event",
      event: "bodies-erased",
      facts: { why: "person", keyIds: [keyId], bodies: 4, bytes: 1 },
    });
    expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 2, erased: 4, unfinished: 1 });
    if (steps === 1) renameSync(keyPath(log.places, keyId), `${keyPath(log.places, keyId)}.erasing`);
    if (steps >= 2) await overwriteKey(keyPath(log.places, keyId));
    if (steps >= 3) rmSync(keptPath(log.places, keyId), { recursive: true });
    await expect(log.contents("call-1")).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
    expect(await checkBodies(log.audit, log.places)).toMatchObject({
      ...{ kept: 2, erased: 4, unfinished: 0, problemCount: 0 },
    });
    const erased = await eraseBodies({ places: log.places, audit: log.log, why: "retention", erases: () => false });
    expect(erased).toEqual({ keys: 0, bodies: 0, bytes: 0 });
    expect(filesBelow(log.places.keysDirectory)).toHaveLength(1);
    expect(filesBelow(log.places.directory)).toHaveLength(2);
    expect(await listKeys(log.places)).toMatchObject({ keyIds: [expect.stringMatching(/^ses-2/)], erasing: [] });
  }
});

test("a body whose record was never written is told, and goes with its key", async () => {
  await using log = await kept();
  await log.bodies.keep({ sessionId: "ses-1", callId: "call-4", tool: "exec", name: "arguments" }, ARGUMENTS);
  // Its record may be on its way.
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 6, unnamed: 0, problemCount: 0 });
  utimesSync(log.file("call-4", "arguments"), 1, 1);
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 6, unnamed: 1, problemCount: 0 });
  await eraseBodies({ places: log.places, audit: log.log, why: "retention", erases: ofSession("ses-1") });
  expect(filesBelow(log.places.directory)).toHaveLength(2);
});

test("a key that somebody removed is a problem, and what is left of its bodies can be erased", async () => {
  await using log = await kept();
  rmSync(log.places.keysDirectory, { recursive: true });
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 0, erased: 0, problemCount: 6 });
  await eraseBodies({ places: log.places, audit: log.log, why: "person", erases: () => true });
  expect(filesBelow(log.places.directory)).toEqual([]);
  expect(await checkBodies(log.audit, log.places)).toMatchObject({ kept: 0, erased: 6, problemCount: 0 });
});

test("each day of a session has a key, so that what is old can go while the session lives", async () => {
  let nowMs = Date.parse("2026-11-20T23:59:59.999Z");
  const { bodies, places } = testBodies(scratch(), { nowMs: () => nowMs });
  const keep = async (callId: string) =>
    (await bodies.keep({ sessionId: "ses-1", callId, tool: "exec", name: "arguments" }, ARGUMENTS)).keyId;
  const first = await keep("call-1");
  expect(await keep("call-2")).toBe(first);
  nowMs += 1;
  const second = await keep("call-3");
  expect([first.slice(0, 16), second.slice(0, 16)]).toEqual(["ses-1/2026-11-20", "ses-1/2026-11-21"]);
  expect(endOfDayMs(first)).toBe(nowMs);
  expect((await listKeys(places)).keyIds).toEqual([first, second]);
});

test("keeping and erasing at the same time: what is kept is readable, or on record as erased", async () => {
  const data = scratch();
  const audit = join(data, "audit");
  const made = testBodies(data);
  await using log = await openAuditLog({ directory: audit, gateway: "gw-test" });
  const done = new AbortController();
  const erasing = (async () => {
    while (!done.signal.aborted)
      await eraseBodies({ places: made.places, audit: log, why: "person", erases: () => true });
  })();
  const ids = Array.from({ length: 60 }, (_, at) => `call-${at}`);
  const results = await Promise.allSettled(ids.map((it) => keepCall(made, log, it, `ses-${Number(it.slice(5)) % 3}`)));
  done.abort();
  await erasing;
  // Where the key goes each time that one is made, a body is refused at last.
  for (const it of results)
    if (it.status === "rejected")
      expect(it.reason).toMatchObject({ code: "AUDIT_UNWRITABLE", message: expect.stringContaining("being erased") });
  expect(await checkBodies(audit, made.places)).toMatchObject({ problemCount: 0 });
  await keepCall(made, log, "call-last");
  expect(await checkBodies(audit, made.places)).toMatchObject({ problemCount: 0 });
});

test("a session may fill so much and no more, and again when something was erased", async () => {
  const data = scratch();
  let nowMs = 1_000_000;
  const { places } = testBodies(data);
  const room = createRoom({ ...places, sessionBytes: 64 * 1024, nowMs: () => nowMs });
  const { bodies } = testBodies(data, { room });
  const keep = (callId: string, sessionId = "ses-1") =>
    bodies.keep({ sessionId, callId, tool: "exec", name: "result" }, randomBytes(15_000).toString("base64"));
  for (let at = 0; at < 4; at++) await keep(`call-${at}`);
  const full = { code: "AUDIT_UNWRITABLE", message: expect.stringContaining("erase --session ses-1") };
  await expect(keep("call-5")).rejects.toMatchObject(full);
  await keep("call-5", "ses-2");
  rmSync(join(places.directory, "ses-1"), { recursive: true });
  rmSync(join(places.keysDirectory, "ses-1"), { recursive: true });
  await expect(keep("call-5")).rejects.toMatchObject(full);
  nowMs += 10_000;
  await keep("call-5");
});

test("nothing that a record or a call says leads out of the places", async () => {
  const { bodies, places } = testBodies(scratch());
  for (const sessionId of ["..", "a/b", "", "x".repeat(65), "a\0", "."])
    await expect(bodies.keep({ sessionId, callId: "call-1", tool: "exec", name: "result" }, 1)).rejects.toBeInstanceOf(
      GatewayError,
    );
  for (const callId of ["../../audit/x", "a/b", "", "."])
    await expect(bodies.keep({ sessionId: "ses-1", callId, tool: "exec", name: "result" }, 1)).rejects.toBeInstanceOf(
      GatewayError,
    );
  expect(filesBelow(places.directory)).toEqual([]);
});

test("no error has the key, or what was to be kept", async () => {
  const { bodies, places } = testBodies(scratch());
  const of = { sessionId: "ses-1", callId: "call-1", tool: "exec", name: "result" } as const;
  const secretive = "nobody is to see this";
  await bodies.keep(of, secretive);
  const again = await bodies.keep(of, secretive).catch((error: GatewayError) => error);
  const [keyId = ""] = (await listKeys(places)).keyIds;
  writeFileSync(keyPath(places, keyId), "damaged");
  const damaged = await bodies.keep({ ...of, callId: "call-2" }, secretive).catch((error: GatewayError) => error);
  for (const error of [again, damaged]) {
    expect(error).toMatchObject({ code: "AUDIT_UNWRITABLE" });
    expect(
      `${JSON.stringify(error)} ${error instanceof Error ? `${error.message} ${String(error.cause)}` : ""}`,
    ).not.toContain(secretive);
  }
});

test("keys whose bodies have no place are not left behind, however often it is tried", async () => {
  const data = scratch();
  const { bodies, places } = testBodies(data);
  rmSync(places.directory, { recursive: true });
  writeFileSync(places.directory, "no directory");
  for (let at = 0; at < 3; at++) {
    const keeping = bodies.keep({ sessionId: "ses-1", callId: `call-${at}`, tool: "exec", name: "result" }, 1);
    await expect(keeping).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  }
  expect(filesBelow(places.keysDirectory)).toEqual([]);
});
