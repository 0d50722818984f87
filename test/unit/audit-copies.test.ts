import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { openSigningKey } from "../../src/audit/proof/keys.ts";
import { type KnownKeys, parseKnownKeys } from "../../src/audit/proof/known-keys.ts";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { audit } from "../support/audit-command.ts";
import { makeSignedLog, rewriteHistory, type SignedLog, writeCalls } from "../support/audit-signed.ts";

const messages = async (path: string, options: Parameters<typeof verifyLog>[1]) =>
  (await verifyLog(path, options)).problems.map(({ kind, message }) => `${kind}: ${message}`);
const slower = (body: RecordBody) => (body.kind === "outcome" ? { ...body, durationMs: 6 } : body);

/** The file of keys of two gateways, `ada` and `build`. */
function inventory(ada: SignedLog, build: SignedLog, chains: Readonly<Record<string, readonly string[]>> = {}): string {
  const file = join(scratch(), "gateways.yaml");
  const gateways = Object.entries({ ada, build }).map(([name, { signer }]) => ({
    name,
    keys: [signer.key.line],
    ...(chains[name] && { chains: chains[name] }),
  }));
  writeFileSync(file, JSON.stringify({ version: 1, gateways }));
  return file;
}

function copyOf({ directory }: SignedLog, name = "copy"): string {
  const copy = join(scratch(), name);
  cpSync(directory, copy, { recursive: true });
  return copy;
}

test("[G33] a chain that another gateway's key signed is not the one of whom it is said to be", async () => {
  const [ada, build] = [await makeSignedLog(2), await makeSignedLog(2)];
  const keysOf = (chains: Partial<KnownKeys[number]> = {}): KnownKeys => [
    { verifier: ada.signer.key, gateway: "ada", ...chains },
    { verifier: build.signer.key, gateway: "build" },
  ];
  // Whoever has the key of `build` writes the history of `ada`.
  const passedOff = copyOf(ada);
  rewriteHistory(onlyChain(passedOff), slower, await openSigningKey(build.keyFile, ""));
  const chain = basename(ada.chain);
  expect(await messages(passedOff, { keys: keysOf() })).toEqual([]);
  const wrong = "signature: it is signed by a key of `build`, and the chain is `ada`'s";
  expect(await messages(passedOff, { keys: keysOf(), gateway: "ada" })).toContain(wrong);
  expect(await messages(passedOff, { keys: keysOf({ chains: [chain] }) })).toContain(wrong);
  const segment = join(onlyChain(passedOff), segments(onlyChain(passedOff))[0] ?? "");
  expect(await messages(segment, { keys: keysOf({ chains: [chain] }) })).toContain(wrong);
  // Another's, and nobody's.
  expect(await messages(passedOff, { keys: keysOf({ chains: [basename(build.chain)] }) })).toEqual([]);
  expect(await messages(passedOff, { keys: keysOf({ chains: [chain] }), gateway: "build" })).toContain(wrong);
  for (const options of [{ gateway: "ada" }, {}]) {
    expect(await messages(ada.directory, { keys: keysOf({ chains: [chain] }), ...options })).toEqual([]);
  }
  // A key that both have is believed as that of whose chain it is.
  const shared = [...keysOf(), { verifier: ada.signer.key, gateway: "build" }];
  expect(await verifyLog(ada.directory, { keys: shared, gateway: "build" })).toMatchObject({
    problemCount: 0,
    gateways: { [chain]: "build" },
  });
});

test("the file of keys gives no chain to two gateways", () => {
  const id = "chain-0mwplkhc8c2b36263ab4f8dbd";
  const entry = (name: string, chain: string) => ({ name, keys: [], chains: [chain] });
  const parse =
    (...gateways: object[]) =>
    () =>
      parseKnownKeys("k", JSON.stringify({ version: 1, gateways }));
  expect(parse(entry("ada", id), entry("build", id))).toThrow(/is said to be `ada`'s and `build`'s/);
  expect(parse(entry("ada", "../x"))).toThrow(/must be a chain's id/);
});

test("a proof of a record by another gateway's key than the chain's proves nothing", async () => {
  const [ada, build] = [await makeSignedLog(2), await makeSignedLog(2)];
  const proof = join(ada.data, "proof.json");
  writeFileSync(proof, (await audit("prove", `${basename(ada.chain)}/1`, "--data-dir", ada.data)).stdout);
  const ofAda = inventory(ada, build, { ada: [basename(ada.chain)] });
  expect(await audit("verify-proof", proof, "--keys", ofAda)).toMatchObject({ status: 0 });
  const ofBuild = inventory(ada, build, { build: [basename(ada.chain)] });
  const refused = await audit("verify-proof", proof, "--keys", ofBuild);
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("and the chain is `build`'s") });
});

test("[G33] several copies are verified in one run, and one chain that two of them tell differently is found", async () => {
  const [ada, build] = [await makeSignedLog(3), await makeSignedLog(2)];
  const keys = inventory(ada, build);
  const earlier = copyOf(ada);
  await writeCalls(ada, 2, "gw-later");
  const other = copyOf(build);
  const notes = await Promise.all([ada, build].map(({ chain }) => checkpointsOf(chain)));
  const kept = join(scratch(), "kept.txt");
  writeFileSync(kept, notes.flatMap(({ checkpoints }) => checkpoints.map(({ note }) => note)).join(""));
  // A copy of a chain that goes on is its beginning; each gateway's checkpoints are asked of its own copy.
  const good = await audit("verify", earlier, ada.directory, other, "--keys", keys, "--checkpoints", kept);
  expect([good.status, good.stdout]).toEqual([0, expect.stringContaining(`${earlier}:\n  ${basename(ada.chain)} is`)]);
  expect(good.stdout.match(/the log is whole/g)).toHaveLength(3);
  expect(good.stdout).toContain(`${basename(build.chain)} is signed by build\n`);
  const [gone, cut] = [join(scratch(), "kept.txt"), copyOf(ada, "cut")];
  const lost = (await makeSignedLog(1)).chain;
  writeFileSync(gone, (await checkpointsOf(lost)).checkpoints.map(({ note }) => note).join(""));
  const missing = await audit(
    "verify",
    build.chain,
    join(earlier, "none"),
    earlier,
    ada.directory,
    "--checkpoints",
    gone,
  );
  expect(missing.stdout.match(/missing chain-\w+: the whole chain is gone/g)).toHaveLength(1);
  // All copies end before what was kept.
  const shorter = (body: RecordBody, seq: number) => (seq < 8 ? body : undefined);
  rewriteHistory(onlyChain(cut), shorter);
  const ends = await audit("verify", cut, other, "--checkpoints", kept);
  expect([ends.status, ends.stdout]).toEqual([1, expect.stringContaining("its end was cut off")]);
  // Both sound, and both signed by the gateway's own key.
  const forked = copyOf(ada, "forked");
  rewriteHistory(onlyChain(forked), slower, await openSigningKey(ada.keyFile, ""));
  const first = recordsOf(ada.chain).find(({ body }) => body.kind === "outcome")?.seq;
  const found = await audit("verify", forked, earlier, other, "--keys", keys);
  expect(found.status).toBe(1);
  expect(found.stdout).toContain(`forked ${basename(ada.chain)} record ${first}: \`${onlyChain(forked)}\` and`);
  const asJson = await audit("verify", forked, ada.chain, "--json", "--keys", keys);
  expect(JSON.parse(asJson.stdout)).toMatchObject({
    copies: [
      { path: forked, problemCount: 0 },
      { path: ada.chain, problemCount: 0 },
    ],
    forked: [{ kind: "forked", seq: first }],
  });
});

test("one of several copies that is gone, empty or damaged does not hide the others", async () => {
  const log = await makeSignedLog(2);
  const [copy, empty] = [copyOf(log), scratch()];
  mkdirSync(join(empty, "audit"));
  rewriteHistory(onlyChain(copy), slower);
  const ended = await audit("verify", join(empty, "none"), empty, copy, log.directory);
  expect(ended.status).toBe(1);
  expect(ended.stdout).toMatch(/cannot be read: there is none\n/);
  expect(ended.stdout).toMatch(/there is no audit log in/);
  expect(ended.stdout).toMatch(/\n {2}root chain-/);
  expect(ended.stdout).toMatch(/the log is whole/);
  expect(ended.stdout).toMatch(/\nforked chain-/);
  expect(await audit("verify", empty)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/there is no audit log/),
  });
  expect(await audit("verify", "--data-dir", empty)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/has no log|there is none/),
  });
});

test("of a copy of a log that goes on, what was not signed yet when it was made is no problem", async () => {
  const [ada, build] = [await makeSignedLog(1), await makeSignedLog(1)];
  const keys = inventory(ada, build);
  const copy = copyOf(ada);
  const size = recordsOf(onlyChain(copy)).length;
  // As it is before the gateway has signed its last records.
  rewriteHistory(onlyChain(copy), (body, seq) => (seq < size - 1 ? body : undefined));
  const at = (time: Date) => audit("verify", copy, "--keys", keys, "--at", time.toISOString());
  expect(await at(new Date())).toMatchObject({ status: 0, stdout: expect.stringContaining("not yet proven: ") });
  expect(await at(new Date(Date.now() + 3_600_000))).toMatchObject({ status: 1 });
});

test("a gateway that the file of keys does not name verifies nothing", async () => {
  const [ada, build] = [await makeSignedLog(1), await makeSignedLog(1)];
  const ended = await audit("verify", ada.directory, "--keys", inventory(ada, build), "--gateway", "\u001b[2Jeve");
  expect(ended).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("it names: ada, build") });
  expect(ended.stderr).not.toContain("\u001b");
  const without = await audit("verify", ada.directory, "--gateway", "ada");
  expect(without).toMatchObject({ status: 1, stderr: expect.stringContaining("--gateway needs --keys") });
});
