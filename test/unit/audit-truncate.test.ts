import { appendFileSync, chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import canonicalize from "canonicalize";
import { expect, test } from "vitest";
import { sealLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { checkpointText, originOf } from "../../src/audit/proof/checkpoint.ts";
import { makeSigningKey, readSigningKey, type SigningKey } from "../../src/audit/proof/keys.ts";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import { rotateKey } from "../../src/audit/proof/rotate.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { EMPTY_TREE, grown, leafHash, rootOf, treeFacts } from "../../src/audit/proof/tree.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { sealBody } from "../../src/audit/truncate/seal.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { linesFile, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { intent, outcome } from "../support/audit-bodies.ts";
import { forgetClose, makeSignedLog, type SignedLog, signedPlace, writeCalls } from "../support/audit-signed.ts";
import { truncate, truncated } from "../support/audit-truncate.ts";

const LATER_MS = Date.now() + 3_600_000;
type Made = SignedLog & { readonly chain: string };

const verify = (path: string, options: Parameters<typeof verifyLog>[1] = {}) =>
  verifyLog(path, { nowMs: LATER_MS, ...options });
const kinds = async (path: string, options: Parameters<typeof verifyLog>[1] = {}) =>
  (await verify(path, options)).problems.map((it) => it.kind);
const eventsOf = (chain: string, event: string) =>
  recordsOf(chain).filter(({ body }) => body.kind === "event" && body.event === event);
const kindOf = (body: RecordBody) => (body.kind === "event" ? body.event : body.kind);
const first = (chain: string) => recordsOf(chain)[0]?.seq ?? 0;

/** The whole place, keys and all. */
function copyOf(log: Made): Made {
  const data = scratch();
  cpSync(log.data, data, { recursive: true });
  chmodSync(join(data, "keys"), 0o700);
  const directory = join(data, "audit");
  return { ...log, data, directory, chain: onlyChain(directory), keyFile: join(data, "keys", "audit.key") };
}

async function withOwnSigner(log: Made): Promise<Made> {
  return { ...log, signer: await openSigner(log.keyFile, "test-host") };
}

test("[G34] what is old goes, whole segments, oldest first, behind a signed record that says so; and the rest verifies", async () => {
  const log = await makeSignedLog(12);
  const [before, records] = [segments(log.chain), recordsOf(log.chain)];
  const { removed } = await truncated(log);
  const left = segments(log.chain);
  const gone = before.filter((it) => !left.includes(it));
  expect(gone).toEqual(before.slice(0, -1));
  const last = records[first(log.chain) - 1];
  expect(removed).toMatchObject({ upToSeq: last?.seq, upToHash: last?.hash, records: first(log.chain) });
  const [seal] = eventsOf(log.chain, "log-truncated");
  expect(seal?.body).toMatchObject({ facts: { upToSeq: last?.seq, segments: [1, gone.length], why: "person" } });
  const whole = await verify(log.directory, { keys: log.keys });
  expect(whole).toMatchObject({ problems: [], unproven: 0 });
  expect(whole.truncated).toEqual({ [basename(log.chain)]: { records: first(log.chain), before: expect.any(String) } });
  expect((await verify(log.directory)).truncated).toEqual(whole.truncated);
  expect(await verify(linesFile(log.chain), { keys: log.keys })).toMatchObject({
    problems: [],
    truncated: whole.truncated,
  });
});

test("a gateway goes on where a chain was truncated, and the next removal, whose record counts then, is on top of the last", async () => {
  const log = await makeSignedLog(12);
  await truncated(log, 8);
  expect(await verify(log.directory, { keys: log.keys })).toMatchObject({ problems: [], unproven: 0 });
  await truncated(log, 6);
  expect(await kinds(log.directory, { keys: log.keys })).toEqual([]);
  await truncated(log, 6);
  await truncated(log);
  const again = await verify(log.directory, { keys: log.keys });
  expect(again.problems).toEqual([]);
  expect(again.truncated[basename(log.chain)]?.records).toBe(first(log.chain));
  // The first of them went with what came later.
  expect(eventsOf(log.chain, "log-truncated").length).toBeLessThan(4);
  // Each segment that was begun since knows where to look.
  await writeCalls(log, 6, "gw-last");
  const started = eventsOf(log.chain, "segment-started").at(-1);
  const facts = started?.body.kind === "event" ? started.body.facts : undefined;
  expect(facts).toMatchObject({ sealedIn: expect.any(Number) });
});

test("a segment on its own that says what was removed is believed from its first record on", async () => {
  const log = await makeSignedLog();
  await truncated(log);
  const names = segments(log.chain);
  const sealing = names.filter((it) => recordsOf(log.chain, it).some(({ body }) => kindOf(body) === "log-truncated"));
  expect(sealing).toEqual([names[0]]);
  for (const name of names) {
    expect((await verifyLog(join(log.chain, name), { keys: log.keys })).problems).toEqual([]);
  }
});

test("a gateway that died before it wrote the first record of a segment is no obstacle", async () => {
  const log = await makeSignedLog(12);
  await truncated(log, 6);
  for (const content of ["", '{"body":{"kind']) {
    const copy = await withOwnSigner(copyOf(log));
    const next = Number.parseInt(segments(copy.chain).at(-1) ?? "", 10) + 1;
    writeFileSync(join(copy.chain, `${String(next).padStart(6, "0")}.jsonl`), content);
    expect((await kinds(copy.directory, { keys: log.keys })).filter((it) => it !== "torn")).toEqual([]);
    await truncate(copy);
    await writeCalls(copy, 5, "gw-next");
    expect(await kinds(copy.directory, { keys: log.keys })).toEqual([]);
  }
});

test("a segment stays while one of its records is young, and so does the last one of a chain", async () => {
  const log = await makeSignedLog(12);
  const names = segments(log.chain);
  const third = recordsOf(log.chain, names[2]);
  const [result] = await truncate(log, { beforeMs: Date.parse(third.at(-1)?.time ?? "") });
  expect(segments(log.chain)[0]).toBe(result?.removed ? names[result.removed.segments[1]] : names[0]);
  expect((result?.removed?.segments[1] ?? 0) < 3).toBe(true);
  expect(await truncate(log, { beforeMs: 0 })).toEqual([{ chain: basename(log.chain), kept: "young" }]);
  while ((await truncate(log))[0]?.removed);
  expect(segments(log.chain)).toHaveLength(1);
  expect(await truncate(log)).toEqual([{ chain: basename(log.chain), kept: "one segment" }]);
  const trial = await makeSignedLog(12);
  const before = segments(trial.chain);
  const [would] = await truncate(trial, { isTrial: true });
  expect(would?.removed?.segments).toEqual([1, before.length - 1]);
  expect(segments(trial.chain)).toEqual(before);
  expect(eventsOf(trial.chain, "log-truncated")).toEqual([]);
});

test("[G7] a beginning that somebody removed is missed: all of it, more than was sealed, or a piece behind it", async () => {
  const plain = await makeSignedLog(12);
  rmSync(join(plain.chain, "000001.jsonl"));
  expect(await kinds(plain.directory)).toEqual(["segment"]);
  await expect(writeCalls(plain, 1)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });

  const more = await makeSignedLog(12);
  await truncated(more, 8);
  const [oldest = "", next = ""] = segments(more.chain);
  const piece = copyOf(more);
  rmSync(join(more.chain, oldest));
  expect(await kinds(more.directory, { keys: more.keys })).toContain("segment");
  await expect(writeCalls(more, 1)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  const [refused] = await truncate(more);
  expect(refused?.problem).toContain("no signed record says");
  rmSync(join(piece.chain, next));
  expect(await kinds(piece.directory, { keys: piece.keys })).toContain("segment");
});

test("[G7] after a removal every record that is left is still missed, and every change of one found", async () => {
  const log = await makeSignedLog(10);
  await truncated(log, 4);
  for (const name of segments(log.chain)) {
    const gone = copyOf(log);
    rmSync(join(gone.chain, name));
    expect([name, (await kinds(gone.directory, { keys: log.keys })).length > 0]).toEqual([name, true]);
    const path = join(log.chain, name);
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    for (const at of lines.keys()) {
      const changed = copyOf(log);
      writeFileSync(
        join(changed.chain, name),
        lines
          .toSpliced(at, 1)
          .map((it) => `${it}\n`)
          .join(""),
      );
      expect((await kinds(changed.directory, { keys: log.keys })).length).toBeGreaterThan(0);
    }
  }
});

/** What somebody does who can write files and has no key: removes segments, and says so in a record of their own. */
function forgeSeal(log: Made, upToSegment: number, signWith?: SigningKey): void {
  const records = recordsOf(log.chain);
  const names = segments(log.chain);
  const gone = names.slice(0, upToSegment).flatMap((it) => recordsOf(log.chain, it));
  const chain = basename(log.chain);
  let tree = EMPTY_TREE;
  for (const it of gone) tree = grown(tree, leafHash(Buffer.from(canonicalize(it) ?? "")));
  const last = gone.at(-1);
  const time = new Date().toISOString();
  const body = sealBody({
    ...{ before: time, upToSeq: last?.seq ?? 0, upToHash: last?.hash ?? "", segments: [1, upToSegment] },
    ...{ records: gone.length, bytes: 1, tree: treeFacts(tree), oldest: time, newest: time },
    ...{ rotations: [], torn: [], why: "retention" },
  });
  let position = { seq: records.at(-1)?.seq ?? 0, hash: records.at(-1)?.hash ?? "" };
  let whole = EMPTY_TREE;
  for (const it of records) whole = grown(whole, leafHash(Buffer.from(canonicalize(it) ?? "")));
  const add = (it: RecordBody) => {
    const gateway = records.at(-1)?.gateway ?? "";
    const sealed = sealLine({ chain, gateway, time }, position, canonicalize(it) ?? "");
    position = sealed.position;
    whole = grown(whole, leafHash(Buffer.from(sealed.line.slice(0, -1))));
    appendFileSync(join(log.chain, names.at(-1) ?? ""), sealed.line);
  };
  add(body);
  if (signWith) {
    const origin = originOf(signWith.verifier.name, chain);
    const note = signWith.sign(checkpointText({ origin, size: whole.size, root: rootOf(whole) }));
    add({ kind: "event", event: "checkpoint", facts: { note } });
  }
  writeFileSync(join(log.chain, "head"), `${`{"hash":"${position.hash}","seq":${position.seq}}`.padEnd(255)}\n`);
}

const removeFirst = (log: Made, count: number) => {
  for (const name of segments(log.chain).slice(0, count)) rmSync(join(log.chain, name));
};

test("[G33] [G34] a record of a removal that no gateway signed counts for nothing, for a gateway neither", async () => {
  const original = await makeSignedLog(12);
  const bare = copyOf(original);
  forgeSeal(bare, 2);
  removeFirst(bare, 2);
  expect(await kinds(bare.directory)).toContain("segment");
  const own = await withOwnSigner(bare);
  await expect(writeCalls(own, 1)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
  expect((await truncate(own))[0]?.problem).toContain("no signed record says");

  // Under the same name, with another key: only who knows the key can tell, and its gateway does.
  const file = join(scratch(), "keys", "audit.key");
  await makeSigningKey(file, original.signer.key.name);
  const forged = copyOf(original);
  forgeSeal(forged, 2, await readSigningKey(file));
  removeFirst(forged, 2);
  expect(await kinds(forged.directory)).toEqual([]);
  expect(await kinds(forged.directory, { keys: forged.keys })).toContain("segment");
  await expect(writeCalls(await withOwnSigner(forged), 1)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
});

test("[G33] nor does one that a gateway found when it started, and signed with the rest", async () => {
  const file = join(scratch(), "keys", "audit.key");
  const original = await makeSignedLog(12);
  await makeSigningKey(file, original.signer.key.name);
  for (const key of [undefined, await readSigningKey(file)]) {
    const found = await withOwnSigner(copyOf(original));
    forgetClose(found.data);
    forgeSeal(found, 2, key);
    await writeCalls(found, 2, "gw-next");
    // No removal is finished for it either.
    expect((await truncate(found, { beforeMs: undefined }))[0]?.finished).toBeUndefined();
    expect(segments(found.chain)[0]).toBe("000001.jsonl");
    removeFirst(found, 2);
    expect(await kinds(found.directory, { keys: found.keys })).toContain("segment");
    await expect(writeCalls(found, 1)).rejects.toMatchObject({ code: "AUDIT_CORRUPT" });
    expect((await truncate(found))[0]?.problem).toContain("no signed record says");
  }
});

test("a removal that was cut short anywhere verifies, and is finished by what comes next", async () => {
  const log = await makeSignedLog(12);
  const before = copyOf(log);
  await truncated(log);
  const gone = segments(before.chain).filter((it) => !segments(log.chain).includes(it));
  for (const left of gone.keys()) {
    const cut = await withOwnSigner(copyOf(log));
    for (const name of gone.slice(left)) cpSync(join(before.chain, name), join(cut.chain, name));
    expect(await kinds(cut.directory, { keys: log.keys })).toEqual([]);
    // With or without a rule; or a gateway goes on with it first.
    if (left % 2 === 1) await writeCalls(cut, 2, "gw-next");
    expect(await truncate(cut, { beforeMs: left === 0 ? Date.now() : undefined })).toMatchObject([
      { finished: gone.length - left },
    ]);
    expect(segments(cut.chain)[0]).toBe(segments(log.chain)[0]);
    expect(await kinds(cut.directory, { keys: log.keys })).toEqual([]);
  }
  // What is put back and is not what was removed is found, and stays for somebody to look at.
  const other = await withOwnSigner(copyOf(log));
  const name = gone.at(-1) ?? "";
  const path = join(other.chain, name);
  writeFileSync(path, readFileSync(join(before.chain, name), "utf8").replace('"call-gw-test-', '"call-gw-best-'));
  expect((await kinds(other.directory, { keys: log.keys })).length).toBeGreaterThan(0);
  expect((await truncate(other, { beforeMs: undefined }))[0]?.finished).toBeUndefined();
  expect(readdirSync(other.chain)).toContain(name);
  // And so is a gap.
  const gap = copyOf(log);
  cpSync(join(before.chain, "000001.jsonl"), join(gap.chain, "000001.jsonl"));
  expect(await kinds(gap.directory, { keys: log.keys })).toContain("segment");
});

test("nothing of a damaged chain is removed, wherever the damage is, nor of one that is not remembered", async () => {
  const original = await makeSignedLog(12);
  const names = segments(original.chain);
  for (const name of [names[0] ?? "", names[2] ?? "", names.at(-1) ?? ""]) {
    const log = await withOwnSigner(copyOf(original));
    const path = join(log.chain, name);
    writeFileSync(path, readFileSync(path, "utf8").replace('"tool":"exec"', '"tool":"eXec"'));
    const [result] = await truncate(log);
    expect([name, result?.removed, result?.problem]).toEqual([
      name,
      undefined,
      expect.stringContaining("damaged chain"),
    ]);
    expect(segments(log.chain)).toEqual(names);
  }
  const forgotten = await withOwnSigner(copyOf(original));
  rmSync(join(forgotten.data, "keys", "signed"), { recursive: true });
  expect((await truncate(forgotten))[0]?.kept).toBe("unsigned");
  expect(segments(forgotten.chain)).toEqual(names);
  const place = await signedPlace();
  {
    await using log = await openAuditLog({ directory: place.directory, gateway: "gw-old", segmentBytes: 1_500 });
    for (let call = 0; call < 6; call++) await log.append(intent(`call-${call}`));
  }
  expect((await truncate(place))[0]?.kept).toBe("unsigned");
});

test("a chain that a gateway writes is left to it; it truncates its own while it writes", async () => {
  const log = await makeSignedLog(12);
  const { directory, signer, keys } = log;
  await using own = await openAuditLog({ directory, gateway: "gw-own", signer, segmentBytes: 2_000 });
  expect(await truncate(log)).toEqual([{ chain: basename(log.chain), kept: "held" }]);
  const writing = Promise.all(
    Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; n < 10; n++) {
        await own.append(intent(`call-${writer}-${n}`));
        await own.append(outcome(`call-${writer}-${n}`));
      }
    }),
  );
  const results = [...(await truncate(log, { own })), ...(await truncate(log, { own }))];
  await writing;
  results.push(...(await truncate(log, { own })));
  expect(results.filter((it) => it.removed).length).toBeGreaterThan(0);
  expect(results.filter((it) => it.problem)).toEqual([]);
  expect(await verifyLog(directory, { keys })).toMatchObject({ problems: [] });
  const another = await openAuditLog({ directory, gateway: "gw-other", signer });
  await another[Symbol.asyncDispose]();
});

test("calls that are open when their records go get their outcome", async () => {
  const { directory, signer, keys } = await signedPlace();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-a", signer, segmentBytes: 2_000 });
    await log.append(intent("call-open"));
    for (let n = 0; n < 8; n++) {
      await log.append(intent(`call-${n}`));
      await log.append(outcome(`call-${n}`));
    }
    await truncate({ directory, signer }, { own: log });
    expect(first(onlyChain(directory))).toBeGreaterThan(2);
  }
  const interrupted: string[] = [];
  const onRecovered = (it: { readonly interrupted: readonly string[] }) => interrupted.push(...it.interrupted);
  await using _ = await openAuditLog({ directory, gateway: "gw-b", signer, onRecovered });
  expect(interrupted).toEqual(["call-open"]);
  expect(await verifyLog(directory, { keys })).toMatchObject({ problems: [] });
});

test("checkpoints that were kept are compared, but for those of what was removed, which are counted", async () => {
  const log = await makeSignedLog(12);
  const { checkpoints } = await checkpointsOf(log.chain);
  const saved = readSavedCheckpoints(checkpoints.map((it) => it.note).join(""));
  await truncated(log, 3);
  const missing = first(log.chain);
  const small = saved.filter((it) => it.size < missing).length;
  expect(small).toBeGreaterThan(1);
  expect(await verify(log.directory, { keys: log.keys, saved })).toMatchObject({ problems: [], incomparable: small });
  // Whoever has the key could have made up all that is left.
  const old = saved.filter((it) => it.size < missing);
  expect((await verify(log.directory, { keys: log.keys, saved: old })).problems).toMatchObject([
    { kind: "missing", message: expect.stringContaining("vouches for what is left") },
  ]);
  const newest = saved.at(-1);
  const forged = saved.map((it) => (it === newest ? { ...it, root: Buffer.alloc(32, 7) } : it));
  expect(await kinds(log.directory, { saved: forged })).toContain("forked");
  const ahead = saved.map((it) => (it === newest ? { ...it, size: 10_000 } : it));
  expect(await kinds(log.directory, { saved: ahead })).toContain("missing");
});

test("what was moved aside from a segment goes with it, and the record names it", async () => {
  const log = await makeSignedLog(4);
  appendFileSync(join(log.chain, segments(log.chain).at(-1) ?? ""), '{"body":{"kind"');
  await writeCalls(log, 8, "gw-next");
  const torn = readdirSync(log.chain).filter((it) => it.endsWith(".torn"));
  expect(torn).toHaveLength(1);
  const { removed } = await truncated(log);
  expect(removed?.torn).toEqual(torn);
  expect(readdirSync(log.chain).filter((it) => it.endsWith(".torn"))).toEqual([]);
  expect(await kinds(log.directory, { keys: log.keys })).toEqual([]);
});

test("signatures are followed from a key whose replacement is on record in what was removed", async () => {
  const log = await makeSignedLog(4);
  const { directory, keyFile } = log;
  await rotateKey({ auditDirectory: directory, keyFile, gateway: "gw-rotate", hostName: "test-host" });
  const next = await withOwnSigner(log);
  {
    await using own = await openAuditLog({ directory, gateway: "gw-long", signer: next.signer, segmentBytes: 2_000 });
    for (let n = 0; n < 12; n++)
      await own.append(intent(`call-long-${n}`)).then(() => own.append(outcome(`call-long-${n}`)));
    await truncate(next, { own });
    expect(eventsOf(log.chain, "audit-key-rotated")).toEqual([]);
    expect(eventsOf(log.chain, "audit-key")).toEqual([]);
  }
  expect(await kinds(directory, { keys: log.keys })).toEqual([]);
  await writeCalls(next, 2, "gw-next");
  expect(await kinds(directory, { keys: log.keys })).toEqual([]);
});
