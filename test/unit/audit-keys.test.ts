import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { keyring } from "../../src/audit/proof/keyring.ts";
import { makeSigningKey, openSigningKey, readSigningKey, type SigningKey } from "../../src/audit/proof/keys.ts";
import { parseKnownKeys, readKnownKeys } from "../../src/audit/proof/known-keys.ts";
import { parseNote } from "../../src/audit/proof/note.ts";
import { rotateKey } from "../../src/audit/proof/rotate.ts";
import { joinRotation, readRotation, rotationText } from "../../src/audit/proof/rotation.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { audit } from "../support/audit-command.ts";
import { makeSignedLog, rewriteHistory, type SignedLog, signedPlace, writeCalls } from "../support/audit-signed.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const LATER_MS = Date.now() + 3_600_000;

async function newKey(name = "other"): Promise<SigningKey> {
  const file = join(scratch(), "keys", "audit.key");
  await makeSigningKey(file, name);
  return await readSigningKey(file);
}

const rotate = ({ directory, keyFile }: SignedLog) =>
  rotateKey({ auditDirectory: directory, keyFile, gateway: "gw-rotate", hostName: "host" });

test("a key is made once, for its owner alone, and starts at the same time have the same", async () => {
  const file = join(scratch(), "keys", "audit.key");
  const made = await Promise.all(Array.from({ length: 8 }, () => openSigningKey(file, "Ada's Laptop")));
  expect(new Set(made.map((it) => it.verifier.line)).size).toBe(1);
  expect(made[0]?.verifier.name).toMatch(/^ada-s-laptop-[0-9a-f]{8}$/);
  expect([statSync(file).mode & 0o777, statSync(join(file, "..")).mode & 0o777]).toEqual([0o600, 0o700]);
  expect(readdirSync(join(file, ".."))).toEqual(["audit.key"]);
  expect((await openSigningKey(join(scratch(), "keys", "audit.key"), "")).verifier.name).toMatch(/^gateway-/);
});

test("a key that is too open, damaged, or not a file refuses the start, and says what to do", async () => {
  const place = async () => {
    const { keyFile } = await signedPlace();
    return keyFile;
  };
  const refusal = async (file: string) =>
    openSigner(file).then(
      () => "opened",
      (error: unknown) => (error instanceof Error && "code" in error ? `${error.code}: ${error.message}` : "other"),
    );
  const open = await place();
  chmodSync(open, 0o640);
  expect(await refusal(open)).toMatch(/^CONFIG_INVALID: .*run chmod 600 on it/);
  const inOpen = await place();
  chmodSync(join(inOpen, ".."), 0o755);
  expect(await refusal(inOpen)).toMatch(/^CONFIG_INVALID: .*run chmod 700 on it/);
  for (const content of ["", "nonsense\n", "x".repeat(5_000)]) {
    const damaged = await place();
    writeFileSync(damaged, content);
    expect(await refusal(damaged)).toMatch(/^CONFIG_INVALID: .*restore it from a backup/);
  }
  const cut = await place();
  writeFileSync(cut, readFileSync(cut, "utf8").slice(0, -5));
  expect(await refusal(cut)).toMatch(/^CONFIG_INVALID/);
  const linked = await place();
  copyFileSync(linked, `${linked}.real`);
  rmSync(linked);
  symlinkSync(`${linked}.real`, linked);
  expect(await refusal(linked)).toMatch(/^AUDIT_UNWRITABLE/);
  const folder = await place();
  rmSync(folder);
  mkdirSync(folder);
  expect(await refusal(folder)).toMatch(/^CONFIG_INVALID/);
  // The key itself is in no message.
  const secret = await place();
  const [, seed = ""] = /\+([A-Za-z0-9+/]{44})\n$/.exec(readFileSync(secret, "utf8")) ?? [];
  appendFileSync(secret, "x");
  expect(await refusal(secret)).not.toContain(seed);
});

test("a key that is replaced: every chain says so, the new one signs on, and what either signed is believed by the old one's line", async () => {
  const log = await makeSignedLog();
  {
    await using _one = await openAuditLog({ directory: log.directory, gateway: "gw-a", signer: log.signer });
    await using two = await openAuditLog({ directory: log.directory, gateway: "gw-b", signer: log.signer });
    await two.append(event({ second: true }));
  }
  const { from, to } = await rotate(log);
  expect([from.line, to.name]).toEqual([log.signer.key.line, log.signer.key.name]);
  expect(chains(log.directory)).toHaveLength(2);
  for (const chain of chains(log.directory)) {
    const bodies = recordsOf(join(log.directory, chain)).map(({ body }) =>
      body.kind === "event" ? body.event : body.kind,
    );
    expect(bodies.slice(-2)).toEqual(["audit-key-rotated", "checkpoint"]);
  }
  await expect(log.signer.confirm()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  const signer = await openSigner(log.keyFile);
  expect(signer.key.line).toBe(to.line);
  const next = { ...log, signer };
  await writeCalls(next, 2, "gw-next");
  // A chain that the old key never saw carries how the new one follows from it.
  {
    await using _a = await openAuditLog({ directory: log.directory, gateway: "gw-a", signer });
    await using _b = await openAuditLog({ directory: log.directory, gateway: "gw-b", signer });
    await using third = await openAuditLog({ directory: log.directory, gateway: "gw-c", signer });
    await third.append(event({ third: true }));
  }
  const all = await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS });
  expect(all).toMatchObject({ chains: 3, problemCount: 0, unproven: 0 });
  // And a second time.
  await rotate(next);
  await writeCalls({ ...log, signer: await openSigner(log.keyFile) }, 1, "gw-last");
  expect(await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS })).toMatchObject({ problemCount: 0 });
});

test("a key that was replaced signs nothing more, nor names another successor", async () => {
  const log = await makeSignedLog();
  const old = await readSigningKey(log.keyFile);
  await rotate(log);
  await writeCalls({ ...log, signer: await openSigner(log.keyFile) }, 1, "gw-next");
  rewriteHistory(log.chain, (it) => it, old);
  const { problems } = await verifyLog(log.directory, { keys: log.keys });
  expect(problems.map((it) => it.message)).toContain("it is signed by a key that another one had replaced");
  const [a, b] = [await newKey("a"), await newKey("b")];
  const ring = keyring([{ verifier: old.verifier, gateway: "test" }]);
  const note = (from: SigningKey, to: SigningKey) => {
    const text = rotationText(from.verifier, to.verifier);
    return joinRotation(from.sign(text), to.sign(text));
  };
  expect(ring.rotate(note(old, a), 10)).toBeUndefined();
  expect(ring.rotate(note(old, b), 20)).toMatch(/had replaced/);
  expect(ring.rotate(note(b, a), 20)).toMatch(/not known/);
  expect(ring.rotate("x", 20)).toMatch(/no change of keys/);
  // Recorded again, as after an interruption; once the new key has signed, that changes nothing any more.
  expect(ring.rotate(note(old, a), 20)).toBeUndefined();
  const signed = (by: SigningKey) => parseNote(by.sign("o\n")) ?? { text: "", signatures: [] };
  expect(ring.signer(signed(old), { chain: undefined, size: 20, timeMs: 0 })).toMatchObject({ gateway: "test" });
  expect(ring.signer(signed(a), { chain: undefined, size: 21, timeMs: 0 })).toMatchObject({ gateway: "test" });
  expect(ring.rotate(note(old, a), 30)).toBeUndefined();
  expect(ring.signer(signed(old), { chain: undefined, size: 30, timeMs: 0 })).toHaveProperty("problem");
});

test("a change of keys has both signatures, and is told from everything else", async () => {
  const [a, b] = [await newKey("a"), await newKey("b")];
  const text = rotationText(a.verifier, b.verifier);
  const whole = joinRotation(a.sign(text), b.sign(text));
  expect(readRotation(whole)).toMatchObject({ from: { line: a.verifier.line }, to: { line: b.verifier.line } });
  expect(readRotation(a.sign(text))).toBeUndefined();
  expect(readRotation(b.sign(text))).toBeUndefined();
  expect(readRotation(joinRotation(a.sign(`${text}more\n`), b.sign(`${text}more\n`)))).toBeUndefined();
  expect(readRotation(whole.replace(a.verifier.id, b.verifier.id))).toBeUndefined();
});

test("keys are replaced while no gateway runs, and a change that was interrupted is finished", async () => {
  const log = await makeSignedLog();
  {
    await using _running = await openAuditLog({ directory: log.directory, gateway: "gw-running", signer: log.signer });
    await expect(rotate(log)).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
    expect(existsSync(`${log.keyFile}.next`)).toBe(false);
  }
  // It died when every chain had recorded it.
  const before = readFileSync(log.keyFile, "utf8");
  await rotate(log);
  copyFileSync(log.keyFile, `${log.keyFile}.next`);
  writeFileSync(log.keyFile, before);
  const signer = await openSigner(log.keyFile);
  await expect(openAuditLog({ directory: log.directory, gateway: "gw-x", signer })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("glovebox audit key rotate"),
  });
  const { to } = await rotate(log);
  expect(existsSync(`${log.keyFile}.next`)).toBe(false);
  await writeCalls({ ...log, signer: await openSigner(log.keyFile) }, 1, "gw-next");
  expect((await openSigner(log.keyFile)).key.line).toBe(to.line);
  expect(await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS })).toMatchObject({
    problemCount: 0,
    unproven: 0,
  });
});

test("a key that was left half made long ago is removed at the next start, and nothing else", async () => {
  const { keyFile } = await signedPlace();
  const own = readFileSync(keyFile);
  const leave = (name: string, ageMs: number) => {
    const path = join(dirname(keyFile), name);
    writeFileSync(path, own, { mode: 0o600 });
    const time = new Date(Date.now() - ageMs);
    utimesSync(path, time, time);
  };
  const [hex, day] = ["0123456789abcdef", 24 * 3_600_000];
  leave(`audit.key.${hex}.draft`, day);
  leave(`audit.key.next.${hex}.draft`, day);
  leave(`audit.key.${hex.replace("0", "f")}.draft`, 1_000);
  leave("audit.key.backup.draft", day);
  leave(`other.key.${hex}.draft`, day);
  await openSigner(keyFile);
  expect(readdirSync(dirname(keyFile)).sort()).toEqual([
    "audit.key",
    "audit.key.backup.draft",
    `audit.key.${hex.replace("0", "f")}.draft`,
    `other.key.${hex}.draft`,
  ]);
  expect(readFileSync(keyFile)).toEqual(own);
});

test("the file of keys is read strictly, and what is wrong has its place", async () => {
  const { line } = (await newKey()).verifier;
  const times = "since: 2026-11-21\n    until: 2026-12-01T09:30:00+01:00";
  const known = parseKnownKeys("k", `version: 1\ngateways:\n  - name: ada\n    keys: ["${line}"]\n    ${times}\n`);
  expect(known).toMatchObject([
    { gateway: "ada", sinceMs: Date.parse("2026-11-21"), untilMs: Date.parse("2026-12-01T08:30:00Z") },
  ]);
  const wrong = (text: string) => {
    try {
      return parseKnownKeys("keys.yaml", text).length;
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
  };
  expect(wrong("")).toMatch(/^keys\.yaml:1:1/);
  expect(wrong("version: 2\ngateways: []")).toMatch(/version/);
  expect(wrong("version: 1\ngateways: []\nmore: 1")).toMatch(/keys\.yaml:3:\d+: more/);
  expect(wrong(`version: 1\ngateways:\n  - name: a\n    keys: ["${line.slice(0, -1)}"]`)).toMatch(
    /keys\.yaml:4:12: .*verifier key/,
  );
  expect(wrong(`version: 1\ngateways:\n  - name: a\n    keys: []`)).toMatch(/keys/);
  expect(wrong(`version: 1\ngateways:\n  - name: a\n    keys: ["${line}"]\n    since: yesterday`)).toMatch(
    /must be a date/,
  );
  expect(
    wrong(`version: 1\ngateways:\n  - name: a\n    keys: ["${line}"]\n    since: 2026-02-01\n    until: 2026-01-01`),
  ).toMatch(/after/);
  await expect(readKnownKeys(join(scratch(), "none"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("[G33] at the command line: keys, checkpoints, proofs, and verification with all of them", async () => {
  const log = await makeSignedLog();
  const data = ["--data-dir", log.data];
  const shown = await audit("key", "show", ...data);
  expect(shown.stdout).toBe(`${log.signer.key.line}\n`);
  const keys = join(log.data, "gateways.yaml");
  writeFileSync(keys, `version: 1\ngateways:\n  - name: ada's laptop\n    keys:\n      - ${shown.stdout}`);
  const whole = await audit("verify", ...data, "--keys", keys);
  expect([whole.status, whole.stdout]).toEqual([
    0,
    expect.stringMatching(
      /^chain-\w+ is signed by ada's laptop\n\d+ checkpoints hold, signed by ada's laptop\nthe log is whole/,
    ),
  ]);
  expect((await audit("verify", ...data)).stdout).toMatch(
    /signatures were not checked: give the gateways' keys with --keys/,
  );

  const all = (await audit("checkpoints", ...data)).stdout;
  const latest = (await audit("checkpoints", "--latest", ...data)).stdout;
  expect(all.endsWith(latest)).toBe(true);
  const kept = join(log.data, "kept.txt");
  writeFileSync(kept, latest);
  expect((await audit("verify", ...data, "--checkpoints", kept, "--keys", keys)).status).toBe(0);

  const chain = basename(log.chain);
  const proof = join(log.data, "proof.json");
  const made = await audit("prove", `${chain}/3`, ...data);
  writeFileSync(proof, made.stdout);
  const proved = await audit("verify-proof", proof, "--keys", keys);
  expect([proved.status, proved.stdout]).toEqual([0, expect.stringContaining("this is record 3 of the first ")]);
  expect(JSON.parse((await audit("verify-proof", proof, "--keys", keys, "--json")).stdout)).toMatchObject({
    chain,
    gateway: "ada's laptop",
  });
  writeFileSync(proof, made.stdout.replace('"index": 3', '"index": 4'));
  expect(await audit("verify-proof", proof, "--keys", keys)).toMatchObject({ status: 1, stdout: "" });
  writeFileSync(proof, made.stdout.replace("call-gw-test", "call-gw-tset"));
  expect((await audit("verify-proof", proof, "--keys", keys)).stderr).toMatch(/its line is no record/);
  writeFileSync(proof, "{}");
  expect((await audit("verify-proof", proof, "--keys", keys)).stderr).toMatch(/is no proof/);

  const [, size] = all.split("\n");
  const grown = await audit("prove", chain, "--from", size ?? "", ...data);
  writeFileSync(proof, grown.stdout);
  expect((await audit("verify-proof", proof, "--keys", keys)).stdout).toMatch(/are what they were, signed by/);
  expect((await audit("prove", `${chain}/999`, ...data)).stderr).toMatch(
    /no checkpoint that covers 1000 records; the newest covers/,
  );
  expect((await audit("prove", "chain-none/1", ...data)).stderr).toMatch(/there is no chain/);
  expect((await audit("prove", `${chain}/1/2`, ...data)).status).toBe(1);

  const rotated = await audit("key", "rotate", ...data);
  expect([rotated.status, rotated.stdout]).toEqual([0, expect.stringMatching(/^test-host-[0-9a-f]{8}\+[0-9a-f]{8}\+/)]);
  expect((await audit("verify", ...data, "--keys", keys)).status).toBe(0);
  rmSync(onlyChain(log.directory), { recursive: true });
  const gone = await audit("verify", ...data, "--checkpoints", kept);
  expect([gone.status, gone.stdout]).toEqual([1, expect.stringMatching(/^missing chain-\w+: the whole chain is gone/)]);
  const program = spawnSync(process.execPath, [ENTRY, "audit", "key", "show", ...data], { encoding: "utf8" });
  expect(program.stdout).toBe(rotated.stdout);
  // A wrong path is no log without records, and nothing is made there.
  const wrong = scratch();
  for (const args of [
    ...[["key", "rotate"], ["tail"], ["checkpoints"], ["stats"], ["sbom"], ["export", "--format", "jsonl"]],
    ...[
      ["bodies", "verify"],
      ["bodies", "erase", "--before", "1d"],
    ],
  ]) {
    const ended = await audit(...args, "--data-dir", wrong);
    expect([args, ended.status, ended.stderr]).toEqual([args, 1, expect.stringContaining("has no log")]);
  }
  expect(readdirSync(wrong)).toEqual([]);
  const none = await audit("key", "show", "--data-dir", wrong);
  expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("a gateway makes it at its first start")]);
});

test("a key that is made before the first gateway starts is the one that it signs with", async () => {
  const data = join(scratch(), "data");
  const made = await audit("key", "show", "--make", "--data-dir", data);
  expect([made.status, made.stderr]).toEqual([0, ""]);
  const keyFile = join(data, "keys", "audit.key");
  expect([data, dirname(keyFile), keyFile].map((it) => statSync(it).mode & 0o777)).toEqual([
    0o711 & ~process.umask(),
    0o700,
    0o600,
  ]);
  expect((await openSigner(keyFile)).key.line).toBe(made.stdout.trimEnd());
  expect(await audit("key", "show", "--make", "--data-dir", data)).toEqual(made);
  expect(await audit("key", "show", "--data-dir", data)).toEqual(made);
});

test("of the data directory's own log `audit verify` misses what was cut off its end, and a chain that is gone", async () => {
  const log = await makeSignedLog();
  const signed = join(log.data, "keys", "signed", basename(log.chain));
  expect(await audit("verify", "--data-dir", log.data)).toMatchObject({ status: 0 });
  // To the first checkpoint, with the head made to fit: what is left is sound in itself.
  const [first = "", ...rest] = segments(log.chain);
  for (const name of rest) rmSync(join(log.chain, name));
  rewriteHistory(log.chain, (it) => it);
  expect(segments(log.chain)).toEqual([first]);
  expect(await audit("verify", log.directory)).toMatchObject({ status: 0 });
  const cut = await audit("verify", "--data-dir", log.data);
  expect(cut.status).toBe(1);
  expect(cut.stdout).toContain("its end was cut off");
  rmSync(log.chain, { recursive: true });
  expect((await audit("verify", "--data-dir", log.data)).stdout).toContain("the whole chain is gone");
  writeFileSync(signed, "garbage");
  expect((await audit("verify", "--data-dir", log.data)).status).toBe(1);
});
