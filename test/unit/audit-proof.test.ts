import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import canonicalize from "canonicalize";
import { expect, onTestFinished, test, vi } from "vitest";
import { historyOf } from "../../src/audit/history.ts";
import { GENESIS_HASH, type Position, sealLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { makeSigningKey, openSigningKey, readSigningKey, type SigningKey } from "../../src/audit/proof/keys.ts";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import { rotateKey } from "../../src/audit/proof/rotate.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import type { Signer } from "../../src/audit/proof/signer.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { storyOf } from "../../src/audit/story.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import {
  forgetClose,
  makeSignedLog,
  rewriteHistory,
  type SignedLog,
  signedPlace,
  writeCalls,
} from "../support/audit-signed.ts";
import { eventually } from "../support/eventually.ts";

const LATER_MS = Date.now() + 3_600_000;

const bodies = (chain: string) => recordsOf(chain).map(({ body }) => body);
const events = (chain: string) => bodies(chain).map((it) => (it.kind === "event" ? it.event : it.kind));
const kinds = async (path: string, options: Parameters<typeof verifyLog>[1]) =>
  (await verifyLog(path, { nowMs: LATER_MS, ...options })).problems.map((it) => it.kind);

async function saved(directory: string) {
  const notes = await Promise.all(chains(directory).map((it) => checkpointsOf(join(directory, it))));
  return readSavedCheckpoints(notes.flatMap((it) => it.checkpoints.map(({ note }) => note)).join(""));
}

/** As the death of the gateway that writes there would leave it. */
function copyOf(data: string): string {
  const copy = scratch();
  cpSync(data, copy, { recursive: true });
  chmodSync(join(copy, "keys"), 0o700);
  return copy;
}

/** Somebody else's key, of the very same name. */
async function forgerOf({ signer }: SignedLog): Promise<SigningKey> {
  const file = join(scratch(), "keys", "audit.key");
  await makeSigningKey(file, signer.key.name);
  return await readSigningKey(file);
}

test("a signed log names its key first, has a checkpoint at the end of each segment and of itself, and verifies", async () => {
  const { directory, chain, keys, signer } = await makeSignedLog();
  expect(events(chain)[0]).toBe("audit-key");
  expect(bodies(chain)[0]).toMatchObject({ facts: { verifier: signer.key.line, rotations: [] } });
  expect(segments(chain).length).toBeGreaterThan(2);
  for (const name of segments(chain)) {
    expect(recordsOf(chain, name).at(-1)?.body).toMatchObject({ event: "checkpoint" });
  }
  const records = recordsOf(chain).length;
  const whole = await verifyLog(directory, { keys, nowMs: LATER_MS });
  expect(whole).toMatchObject({ records, problemCount: 0, unproven: 0, signatures: "checked" });
  expect(whole.gateways).toEqual({ [basename(chain)]: "test" });
  expect(await verifyLog(directory)).toMatchObject({ problemCount: 0, unproven: 0, signatures: "not-checked" });
  expect(await kinds(directory, { keys, saved: await saved(directory) })).toEqual([]);
  for (const name of segments(chain)) expect(await kinds(join(chain, name), { keys })).toEqual([]);
});

test("[G33] a history that somebody without the key wrote anew, with everything in it made to fit, is found", async () => {
  const hide = (body: RecordBody) => (body.kind === "intent" ? { ...body, arguments: { argv: ["ls"] } } : body);
  const log = await makeSignedLog();
  const copy = () => {
    const directory = scratch();
    cpSync(log.directory, directory, { recursive: true });
    return directory;
  };
  // With the signatures that were there.
  const kept = copy();
  rewriteHistory(onlyChain(kept), hide);
  expect(await kinds(kept, {})).toEqual(["root"]);
  expect(await kinds(kept, { keys: log.keys })).toEqual(["root"]);
  // With their own, under the same name: nothing else than the known key tells.
  const forged = copy();
  rewriteHistory(onlyChain(forged), hide, await forgerOf(log));
  expect(await kinds(forged, {})).toEqual([]);
  const found = await kinds(forged, { keys: log.keys });
  expect(new Set(found)).toEqual(new Set(["signature", "unsigned"]));
  // Without any.
  const bare = copy();
  rewriteHistory(onlyChain(bare), (body) =>
    body.kind === "event" && body.event === "checkpoint" ? undefined : hide(body),
  );
  expect(await kinds(bare, {})).toEqual([]);
  expect(await kinds(bare, { keys: log.keys })).toEqual(["unsigned"]);
  // A record less.
  const shorter = copy();
  rewriteHistory(onlyChain(shorter), (body, seq) => (seq === 3 ? undefined : hide(body)));
  expect(await kinds(shorter, {})).toEqual(["root"]);
});

test("[G33] any one body of a log that is changed, with all that follows made to fit, is found by the roots alone", async () => {
  const { chain } = await makeSignedLog(3);
  for (const { seq, body } of recordsOf(chain)) {
    if (body.kind === "event") continue;
    const directory = join(scratch(), basename(chain));
    cpSync(chain, directory, { recursive: true });
    rewriteHistory(directory, (it, at) => (at === seq && it.kind !== "event" ? { ...it, callId: "call-other" } : it));
    expect([seq, await kinds(directory, {})]).toEqual([seq, ["root"]]);
  }
});

test("[G33] what was covered by a checkpoint that is kept elsewhere is missed, also when the key itself signed the other history", async () => {
  const log = await makeSignedLog();
  const kept = await saved(log.directory);
  const forger = await openSigningKey(log.keyFile, "");
  const forked = scratch();
  cpSync(log.directory, forked, { recursive: true });
  rewriteHistory(onlyChain(forked), (it) => (it.kind === "outcome" ? { ...it, durationMs: 6 } : it), forger);
  expect(await kinds(forked, { keys: log.keys })).toEqual([]);
  expect(new Set(await kinds(forked, { keys: log.keys, saved: kept }))).toEqual(new Set(["forked"]));
  const cut = scratch();
  cpSync(log.directory, cut, { recursive: true });
  rewriteHistory(onlyChain(cut), (it, seq) => (seq < 5 ? it : undefined), forger);
  for (const name of segments(onlyChain(cut)).slice(1)) rmSync(join(onlyChain(cut), name));
  expect(await kinds(cut, { saved: kept })).toContain("missing");
  const gone = scratch();
  const [problem] = (await verifyLog(gone, { saved: kept })).problems;
  expect(problem).toMatchObject({ kind: "missing", chain: basename(log.chain) });
  // Only what a chain's own checkpoints say is asked of it alone.
  expect(await kinds(log.chain, { saved: kept })).toEqual([]);
});

test("records behind the last checkpoint are counted, and no problem before they are old", async () => {
  const { directory, signer, keys } = await signedPlace();
  await using log = await openAuditLog({ directory, gateway: "gw-test", signer });
  await log.append(intent("call-1"));
  expect(await verifyLog(directory, { keys })).toMatchObject({ problemCount: 0, unproven: 2 });
  const [old] = (await verifyLog(directory, { keys, nowMs: LATER_MS })).problems;
  expect(old).toMatchObject({ kind: "unsigned", message: expect.stringContaining("none of its 2 records is signed") });
  expect(await verifyLog(directory, { nowMs: LATER_MS })).toMatchObject({ problemCount: 0, unproven: 2 });
});

test("a thousand records have a checkpoint, and fewer have one after a while", async () => {
  const { directory, signer, keys } = await signedPlace();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test", signer });
    await Promise.all(Array.from({ length: 2_500 }, (_, n) => log.append(event({ n }))));
    // It follows the records that it covers, which are acknowledged before.
    await eventually(() => expect(events(onlyChain(directory))).toContain("checkpoint"));
    const found = events(onlyChain(directory));
    expect(found.length - found.lastIndexOf("checkpoint")).toBeLessThan(1_500);
  }
  const chain = onlyChain(directory);
  const before = events(chain).length;
  await using log = await openAuditLog({ directory, gateway: "gw-test", signer, checkpointMs: 20 });
  await log.append(event({ lonely: true }));
  await eventually(() => expect(events(chain).slice(before)).toEqual(["audit-key", "process-ended", "checkpoint"]));
  await log.append(event({ again: true }));
  await eventually(() => expect(events(chain).at(-1)).toBe("checkpoint"));
  expect(await verifyLog(directory, { keys })).toMatchObject({ problemCount: 0, unproven: 0 });
});

test("opening and closing writes nothing where everything is signed", async () => {
  const log = await makeSignedLog(2);
  const before = events(log.chain);
  await writeCalls(log, 0, "gw-next");
  expect(events(log.chain)).toEqual(before);
});

test("a log from before there were signatures goes on, and is signed from its beginning", async () => {
  const place = await signedPlace();
  {
    await using log = await openAuditLog({ directory: place.directory, gateway: "gw-old", segmentBytes: 1_500 });
    for (let call = 0; call < 6; call++) {
      await log.append(intent(`call-${call}`));
      await log.append(outcome(`call-${call}`));
    }
  }
  expect(await kinds(place.directory, { keys: place.keys })).toEqual(["unsigned"]);
  await writeCalls(place, 2, "gw-new");
  expect(await verifyLog(place.directory, { keys: place.keys, nowMs: LATER_MS })).toMatchObject({
    problemCount: 0,
    unproven: 0,
  });
  // And one that was continued without a key again.
  forgetClose(place.data);
  {
    await using log = await openAuditLog({ directory: place.directory, gateway: "gw-old", segmentBytes: 1_500 });
    for (let n = 0; n < 12; n++) await log.append(event({ n, text: "x".repeat(300) }));
  }
  await writeCalls(place, 1, "gw-newer");
  expect(await verifyLog(place.directory, { keys: place.keys, nowMs: LATER_MS })).toMatchObject({
    problemCount: 0,
    unproven: 0,
  });
});

test("[G33] a gateway signs no history that contradicts what it signed before", async () => {
  const open = ({ directory, signer }: SignedLog) => openAuditLog({ directory, gateway: "gw-next", signer });
  const changed = await makeSignedLog();
  rewriteHistory(changed.chain, (it, seq) => (seq === 2 && it.kind === "outcome" ? { ...it, durationMs: 9 } : it));
  await expect(open(changed)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  const cut = await makeSignedLog();
  rewriteHistory(cut.chain, (it, seq) => (seq < 4 ? it : undefined));
  for (const name of segments(cut.chain).slice(1)) rmSync(join(cut.chain, name));
  const refused = await open(cut).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "AUDIT_CORRUPT", message: expect.stringContaining("a checkpoint of") });
  // Moved away, as the message says, the next start makes a chain of its own.
  rmSync(cut.chain, { recursive: true });
  await writeCalls(cut, 1);
  expect(await kinds(cut.directory, { keys: cut.keys })).toEqual([]);
});

/** What somebody without the key adds behind the last record, with everything made to fit. */
function addForged(chain: string, count: number, times: (at: number) => number): void {
  const file = join(chain, segments(chain).at(-1) ?? "");
  let position: Position = recordsOf(chain).at(-1) ?? { seq: -1, hash: GENESIS_HASH };
  for (let at = 0; at < count; at++) {
    const time = new Date(times(at)).toISOString();
    const body = canonicalize(event({ at })) ?? "";
    const sealed = sealLine({ chain: basename(chain), gateway: "gw-test", time }, position, body);
    appendFileSync(file, sealed.line);
    position = sealed.position;
  }
  writeFileSync(join(chain, "head"), `${`{"hash":"${position.hash}","seq":${position.seq}}`.padEnd(255)}\n`);
}

test("[G33] what was added behind a clean close is signed by nobody, whoever opens the chain next", async () => {
  const log = await makeSignedLog();
  const idle = await signedPlace();
  await writeCalls(idle, 0);
  for (const { data, directory, keyFile, signer } of [log, idle]) {
    const chain = onlyChain(directory);
    const before = readFileSync(join(data, "keys", "signed", basename(chain)), "utf8");
    const head = readFileSync(join(chain, "head"));
    const path = join(chain, segments(chain).at(-1) ?? "000001.jsonl");
    const text = readFileSync(path, "utf8");
    addForged(chain, 1, () => Date.now());
    const refused = { code: "AUDIT_CORRUPT", message: expect.stringContaining("keep it") };
    await expect(writeCalls({ ...log, directory, signer }, 1)).rejects.toMatchObject(refused);
    const rotating = { auditDirectory: directory, keyFile, gateway: "gw-rotate", hostName: "test-host" };
    await expect(rotateKey(rotating)).rejects.toMatchObject(refused);
    rmSync(`${keyFile}.next`);
    expect(readFileSync(join(data, "keys", "signed", basename(chain)), "utf8")).toBe(before);
    // Without what was added, it goes on.
    writeFileSync(path, text);
    writeFileSync(join(chain, "head"), head);
    await writeCalls({ ...log, directory, signer }, 1);
  }
});

test("a chain is closed by whoever ends in order, and a death at any point leaves one that starts again", async () => {
  const { data, directory, signer, keys } = await signedPlace();
  const closedAt = () => readFileSync(join(data, "keys", "signed", basename(onlyChain(directory))), "utf8");
  const dead = () => copyOf(data);
  const copies: string[] = [];
  // Before and behind each thing that is remembered: the mark that is taken away, the checkpoint, and the mark.
  const watching = {
    ...signer,
    remember: async (...memory: Parameters<Signer["remember"]>) => {
      copies.push(dead());
      await signer.remember(...memory);
      copies.push(dead());
    },
  };
  for (const gateway of ["gw-a", "gw-b"]) {
    await using log = await openAuditLog({ directory, gateway, signer: watching });
    expect(closedAt()).not.toContain("closed");
    await log.append(event({ gateway }));
    copies.push(dead());
    await log[Symbol.asyncDispose]();
    expect(closedAt()).toContain(`closed ${recordsOf(onlyChain(directory)).at(-1)?.hash}`);
  }
  expect(copies).toHaveLength(14);
  for (const copy of copies) {
    const left = await signedPlace(copy);
    await writeCalls(left, 1, "gw-next");
    expect(await verifyLog(left.directory, { keys, nowMs: LATER_MS })).toMatchObject({ problems: [], unproven: 0 });
  }
});

test("[G33] what a start finds from before the last checkpoint is reported, though it is of few minutes", async () => {
  const log = await makeSignedLog();
  forgetClose(log.data);
  const time = Date.UTC(2025, 2, 1);
  addForged(log.chain, 20, (at) => (at === 10 ? time : Date.now()));
  await writeCalls(log, 1, "gw-next");
  expect(await kinds(log.directory, { keys: log.keys, nowMs: LATER_MS })).toEqual(["unsigned"]);
});

test("what a gateway left that died in a month that is over is signed as on any other day", async () => {
  onTestFinished(() => void vi.useRealTimers());
  const place = await signedPlace();
  const [nowMs, dayMs] = [Date.now(), 86_400_000];
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.setSystemTime(nowMs - 31 * dayMs);
  const write = async ({ directory, signer }: SignedLog, gateway: string) => {
    const log = await openAuditLog({ directory, gateway, signer });
    await log.append(event({ gateway }));
    return log;
  };
  await (await write(place, "gw-a"))[Symbol.asyncDispose]();
  vi.setSystemTime(nowMs - dayMs);
  await using living = await write(place, "gw-b");
  const copy = await signedPlace(copyOf(place.data));
  vi.setSystemTime(nowMs);
  await (await write(copy, "gw-c"))[Symbol.asyncDispose]();
  expect(segments(join(copy.directory, living.chain))).toHaveLength(2);
  expect(await verifyLog(copy.directory, { keys: place.keys, nowMs })).toMatchObject({ problems: [], unproven: 0 });
});

test("half a record at the end is moved aside, and what is left is signed", async () => {
  const log = await makeSignedLog();
  const last = segments(log.chain).at(-1) ?? "";
  appendFileSync(join(log.chain, last), '{"body":{"kind":"event"');
  await writeCalls(log, 1, "gw-next");
  expect(events(log.chain)).toContain("log-recovered");
  expect(await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS })).toMatchObject({
    problemCount: 0,
    unproven: 0,
  });
});

test("a memory of what was signed that is behind does not stop a start; of one that is gone or damaged nobody vouches", async () => {
  const log = await makeSignedLog();
  const memory = join(log.data, "keys", "signed", basename(log.chain));
  const [first] = (await checkpointsOf(log.chain)).checkpoints;
  writeFileSync(memory, `${first?.note}`.padEnd(512, "\n"));
  await writeCalls(log, 1, "gw-a");
  expect(await kinds(log.directory, { keys: log.keys })).toEqual([]);
  const last = readFileSync(memory);
  rmSync(memory);
  await expect(writeCalls(log, 1, "gw-b")).rejects.toMatchObject({
    code: "AUDIT_CORRUPT",
    message: expect.stringContaining("keys/signed"),
  });
  symlinkSync("/nowhere/at/all", memory);
  await expect(writeCalls(log, 1, "gw-b")).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  rmSync(memory);
  writeFileSync(memory, "garbage");
  await expect(writeCalls(log, 1, "gw-b")).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("restore it"),
  });
  writeFileSync(memory, last);
  await writeCalls(log, 1, "gw-b");
  // From the first segment on: a memory that is behind has the log compared from there.
  writeFileSync(memory, `${first?.note}`.padEnd(512, "\n"));
  rewriteHistory(log.chain, (it, seq) => (seq === 1 && it.kind === "intent" ? { ...it, tool: "ls" } : it));
  await expect(writeCalls(log, 1, "gw-c")).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
});

test("what reads a log's decisions and calls passes over what proves it", async () => {
  const log = await makeSignedLog(3);
  const { decisions, reading } = historyOf(log.directory, {});
  await Array.fromAsync(decisions);
  expect(reading.damaged).toBe(0);
  expect((await storyOf(log.directory, "call-gw-test-1"))?.entries.map(({ record }) => record.body.kind)).toEqual([
    "intent",
    "outcome",
  ]);
});

test("records that claim to be from the future are no younger for it", async () => {
  const { directory, signer, keys } = await signedPlace();
  await using log = await openAuditLog({ directory, gateway: "gw-test", signer });
  await log.append(intent("call-1"));
  expect(await kinds(directory, { keys, nowMs: Date.now() - 3_600_000 })).toEqual(["unsigned"]);
});

test("a checkpoint is of its own chain, of its own place, and of its gateway", async () => {
  const [a, b] = [await makeSignedLog(2), await makeSignedLog(2)];
  const stranger = [...a.keys, { verifier: b.signer.key, gateway: "other" }];
  // Another known gateway's key signs what is not its chain.
  const ofOther = await openSigningKey(b.keyFile, "");
  let count = 0;
  const half = scratch();
  cpSync(a.directory, half, { recursive: true });
  rewriteHistory(onlyChain(half), (it) => it, ofOther);
  const signed = new Map(recordsOf(onlyChain(half)).map(({ seq, body }) => [seq, body]));
  const mixed = scratch();
  cpSync(a.directory, mixed, { recursive: true });
  rewriteHistory(onlyChain(mixed), (it, seq) =>
    it.kind === "event" && it.event === "checkpoint" && count++ > 0 ? signed.get(seq) : it,
  );
  const [problem] = (await verifyLog(mixed, { keys: stranger })).problems;
  expect(problem?.message).toBe("it is signed by a key of `other`, and those before it by one of `test`");
  // A checkpoint of one chain in another.
  const [note] = (await checkpointsOf(b.chain)).checkpoints;
  rewriteHistory(a.chain, (it) =>
    it.kind === "event" && it.event === "checkpoint" ? { ...it, facts: { note: note?.note ?? "" } } : it,
  );
  expect(await kinds(a.directory, {})).toContain("signature");
  rewriteHistory(b.chain, (it) =>
    it.kind === "event" && it.event === "checkpoint" ? { ...it, facts: { note: "x" } } : it,
  );
  expect(await kinds(b.directory, {})).toContain("signature");
});

test("a key signs nothing before or after the times of the inventory", async () => {
  const { directory, signer } = await makeSignedLog(2);
  const known = (times: object) => ({ keys: [{ verifier: signer.key, gateway: "test", ...times }] });
  expect(await kinds(directory, known({ sinceMs: Date.now() - 600_000, untilMs: LATER_MS }))).toEqual([]);
  expect(await kinds(directory, known({ sinceMs: LATER_MS }))).toContain("signature");
  expect(await kinds(directory, known({ untilMs: Date.now() - 600_000 }))).toContain("signature");
});

test("a start that can't remember what it signs signs nothing", async () => {
  const place = await signedPlace();
  const signed = join(place.data, "keys", "signed");
  symlinkSync("/nowhere/at/all", signed);
  await expect(writeCalls(place, 1)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
});

test("records whose time is no moment are none", async () => {
  const log = await makeSignedLog(2);
  rewriteHistory(log.chain, (it) => it, undefined);
  const last = segments(log.chain).at(-1) ?? "";
  const forged = readFileSync(join(log.chain, last), "utf8").replaceAll(
    /"time":"[^"]*"/g,
    '"time":"2026-01-05T99:00:00.000Z"',
  );
  writeFileSync(join(log.chain, last), forged);
  expect(await kinds(log.directory, {})).toContain("form");
});

test("what a start found unsigned, and signed, is not taken for what its writer signed", async () => {
  const log = await makeSignedLog(2);
  const chain = join(log.directory, "chain-000000000aaaaaaaaaaaaaaaa");
  mkdirSync(chain);
  const lines: string[] = [];
  let position: Position = { seq: -1, hash: GENESIS_HASH };
  for (let at = 0; at < 40; at++) {
    const time = new Date(Date.UTC(2026, 0, 5, 9, at)).toISOString();
    const body = canonicalize(intent(`call-forged-${at}`)) ?? "";
    const sealed = sealLine({ chain: basename(chain), gateway: "gw-forged", time }, position, body);
    lines.push(sealed.line);
    position = sealed.position;
  }
  writeFileSync(join(chain, "000001.jsonl"), lines.join(""));
  writeFileSync(join(chain, "head"), `${`{"hash":"${position.hash}","seq":${position.seq}}`.padEnd(255)}\n`);
  writeFileSync(join(chain, "lock"), "");
  expect(await kinds(log.directory, { keys: log.keys, nowMs: LATER_MS })).toEqual(["unsigned"]);
  // It takes the oldest chain.
  await writeCalls(log, 1, "gw-next");
  expect(await kinds(log.directory, { keys: log.keys, nowMs: LATER_MS })).toEqual(["unsigned"]);
  expect(await kinds(log.directory, {})).toEqual([]);
});

test("a segment that does not say what was before it has no signature that could be checked", async () => {
  const log = await makeSignedLog();
  const copy = join(scratch(), "000002.jsonl");
  writeFileSync(copy, readFileSync(join(log.chain, segments(log.chain)[0] ?? "")));
  expect(await kinds(copy, { keys: log.keys })).toEqual(["segment", "unsigned"]);
  expect(await kinds(copy, {})).toEqual(["segment"]);
});
