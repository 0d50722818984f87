import { spawn } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { makeSigningKey, readSigningKey } from "../../src/audit/proof/keys.ts";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import { readChain } from "../../src/audit/read.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { openPostgresSink } from "../../src/audit/sinks/postgres.ts";
import { openStore } from "../../src/audit/sinks/postgres-read.ts";
import { type VerifyStoreOptions, verifyStore } from "../../src/audit/sinks/verify-store.ts";
import { chains, recordsOf, scratch } from "../support/audit.ts";
import { intent, outcome } from "../support/audit-bodies.ts";
import { rewriteHistory, type SignedLog, signedPlace } from "../support/audit-signed.ts";
import { postgresPrograms, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { emptyStore, makeStore, portsFor, secretFile, settingsFor } from "../support/postgres-store.ts";

const installed = postgresPrograms() !== undefined;
if (!installed) console.warn("skipped: PostgreSQL is not installed (apt-get install postgresql)");

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const LATER_MS = Date.now() + 3_600_000;
const NO_SIGNAL = new AbortController().signal;

/** What somebody would want to have never happened. */
const hide = (body: RecordBody) => (body.kind === "intent" ? { ...body, arguments: { argv: ["ls"] } } : body);

describe.skipIf(!installed)("[G33] a central store is compared with what gateways signed", () => {
  let postgres: TestPostgres;
  let log: SignedLog & { readonly chain: string };

  beforeAll(async () => {
    postgres = await startPostgres();
    await makeStore(postgres);
  });
  afterAll(async () => await postgres?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    // One segment, and a checkpoint each time that the gateway ends.
    const place = await signedPlace();
    for (let run = 0; run < 4; run++) {
      await using writing = await openAuditLog({ ...place, gateway: `gw-${run}` });
      for (let n = 0; n < 4; n++)
        await writing.append(n % 2 ? outcome(`call-${run}-${n - 1}`) : intent(`call-${run}-${n}`));
    }
    log = { ...place, chain: join(place.directory, chains(place.directory)[0] ?? "") };
  });

  /** Puts a log into the empty store as if it had always been there: what whoever rules the server can do. */
  async function put(directory: string): Promise<void> {
    await emptyStore(postgres);
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    for (const chain of chains(directory)) {
      const [first, ...others] = await Array.fromAsync(readChain(join(directory, chain), () => true));
      if (first) await sink.deliver({ chain, entries: [first, ...others] }, NO_SIGNAL);
    }
  }

  function rewritten(
    ...[change, forger]: [...Parameters<typeof rewriteHistory>] extends [string, ...infer Rest] ? Rest : never
  ) {
    const directory = scratch();
    cpSync(log.directory, directory, { recursive: true });
    rewriteHistory(join(directory, basename(log.chain)), change, forger);
    return directory;
  }

  async function verified(options: VerifyStoreOptions = {}) {
    using store = await openStore(settingsFor(postgres, { user: "analyst" }), portsFor(postgres));
    return await verifyStore(store, { nowMs: LATER_MS, ...options });
  }
  const kinds = async (options: VerifyStoreOptions = {}) =>
    [...new Set((await verified(options)).problems.map((it) => it.kind))].sort();

  async function stranger() {
    const file = join(scratch(), "keys", "audit.key");
    await makeSigningKey(file, log.signer.key.name);
    return await readSigningKey(file);
  }
  const kept = async () =>
    readSavedCheckpoints((await checkpointsOf(log.chain)).checkpoints.map(({ note }) => note).join(""));

  /** Retention, and whoever says that it was retention: everything up to a record is gone. */
  async function drop(upTo: number): Promise<void> {
    const chain = basename(log.chain);
    await postgres.query(`SET session_replication_role = replica;
      UPDATE glovebox.positions SET dropped_seq = ${upTo}, dropped_hash =
        (SELECT hash FROM glovebox.records r WHERE r.chain = '${chain}' AND r.seq = ${upTo}) WHERE chain = '${chain}';
      DELETE FROM glovebox.records WHERE chain = '${chain}' AND seq <= ${upTo}`);
  }

  test("one that nobody touched is proven to its last record, and says whose chains it has", async () => {
    await put(log.directory);
    const { keys } = log;
    const gateways = { [basename(log.chain)]: "test" };
    const records = recordsOf(log.chain).length;
    const whole = { records, problems: [], unproven: 0, checkpoints: 4, dropped: 0, signatures: "checked", gateways };
    expect(await verified({ keys, saved: await kept() })).toMatchObject(whole);
    expect(await verified()).toMatchObject({ problems: [], signatures: "not-checked", gateways: {} });
  });

  test("history that was rewritten, with every hash and column made to fit, is found with the gateways' keys, and only with them", async () => {
    const { keys } = log;
    await put(rewritten(hide, await stranger()));
    expect(await kinds()).toEqual([]);
    expect(await kinds({ keys })).toEqual(["signature", "unsigned"]);
    await put(rewritten((body) => (body.kind === "event" && body.event === "checkpoint" ? undefined : hide(body))));
    expect(await kinds()).toEqual([]);
    expect(await kinds({ keys })).toEqual(["unsigned"]);
    // With the signatures that were there, no key is needed.
    await put(rewritten(hide));
    expect(await kinds()).toEqual(["root"]);
  });

  test("an end that was cut off with the store's position, a chain that was removed, and one that the key itself signed anew are missed by what was kept", async () => {
    const { keys } = log;
    const saved = await kept();
    // To just behind a checkpoint: nothing else tells.
    const size = (saved[1]?.size ?? 0) + 1;
    await put(rewritten((body, seq) => (seq < size ? body : undefined)));
    expect(await kinds({ keys })).toEqual([]);
    expect(await kinds({ keys, saved })).toEqual(["missing"]);
    await put(rewritten(hide, await readSigningKey(log.keyFile)));
    expect(await kinds({ keys })).toEqual([]);
    expect(await kinds({ keys, saved })).toEqual(["forked"]);
    await emptyStore(postgres);
    expect(await kinds({ keys })).toEqual([]);
    expect(await kinds({ keys, saved })).toEqual(["missing"]);
  });

  test("where retention has dropped the beginning, what is left is proven by the checkpoints in it", async () => {
    const { keys } = log;
    const saved = await kept();
    const [first, second] = saved.map(({ size }) => size);
    const upTo = (first ?? 0) + 2;
    await put(log.directory);
    await drop(upTo);
    const proven = { problems: [], unproven: 0, dropped: upTo + 1, checkpoints: 2 };
    expect(await verified({ keys, saved })).toMatchObject(proven);
    // Before the checkpoint that says what was before it, behind it, and with nothing signed at all.
    const at = (seq: number) => (body: RecordBody, own: number) => (own === seq ? { ...body, callId: "call-x" } : body);
    for (const seq of [upTo + 1, (second ?? 0) + 2]) {
      await put(rewritten(at(seq)));
      await drop(upTo);
      expect(await kinds({ keys })).toContain("root");
      await put(rewritten(at(seq), await stranger()));
      await drop(upTo);
      expect(await kinds()).toEqual([]);
      expect(await kinds({ keys })).toEqual(["signature", "unsigned"]);
    }
    // All but a beginning that nobody can check: a single checkpoint, which says nothing of the records before it.
    const last = saved.at(-1)?.size ?? 0;
    await put(rewritten(at(last - 1)));
    await drop(last - 3);
    expect(await verified({ keys })).toMatchObject({ unproven: 2, problems: [{ kind: "unsigned" }] });
    // What is said to be dropped, and is there to be asked for.
    await put(rewritten(hide, await stranger()));
    await postgres.query(`SET session_replication_role = replica;
      UPDATE glovebox.positions SET dropped_seq = seq, dropped_hash = hash`);
    expect(await kinds({ keys })).toEqual(["unsigned"]);
    // What is kept of the whole reaches further than what is left.
    await put(rewritten((body, seq) => (seq <= (second ?? 0) ? body : undefined)));
    await drop(upTo);
    expect(await kinds({ saved })).toEqual(["missing"]);
  });

  test("at the command line: with keys, and whose chains they are to be", async () => {
    const data = scratch();
    const { host, port, database } = postgres;
    const ca = secretFile(postgres, "ca.pem", postgres.authority.certificate);
    const password = { file: secretFile(postgres, "reader.password", "correct-horse") };
    const settings = join(data, "reader.yaml");
    const server = { type: "postgres", name: "central", host, port, database, user: "analyst", password, ca };
    writeFileSync(settings, JSON.stringify(server));
    const other = join(scratch(), "keys", "audit.key");
    await makeSigningKey(other, "other");
    const { verifier } = await readSigningKey(other);
    const keys = join(data, "gateways.yaml");
    const gateways = [
      { name: "ada's laptop", keys: [log.signer.key.line] },
      { name: "build host", keys: [verifier.line] },
    ];
    writeFileSync(keys, JSON.stringify({ version: 1, gateways }));
    const kept = join(data, "kept.txt");
    writeFileSync(kept, (await checkpointsOf(log.chain)).checkpoints.map(({ note }) => note).join("\n"));
    await put(log.directory);
    const run = (...more: string[]) => verify("--settings", settings, ...more);
    const good = await run("--keys", keys, "--checkpoints", kept, "--gateway", "ada's laptop");
    expect(good).toMatchObject({ status: 0, stderr: "" });
    expect(good.stdout).toContain(`${basename(log.chain)} is signed by ada's laptop\n`);
    expect(good.stdout).toContain("4 checkpoints hold, signed by ada's laptop\n");
    const wrong = await run("--keys", keys, "--gateway", "build host");
    expect(wrong.status).toBe(1);
    expect(wrong.stdout).toContain("it is signed by a key of `ada's laptop`, and the chain is `build host`'s");
    expect((await run("--gateway", "x")).stderr).toContain("--gateway needs --keys");
    await put(rewritten(hide, await stranger()));
    expect(await run()).toMatchObject({ status: 0 });
    expect(await run("--keys", keys, "--json")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('"signature"'),
    });
  });

  async function verify(...args: string[]) {
    const child = spawn(process.execPath, [ENTRY, "audit", "store", "verify", ...args], {
      env: { ...process.env, NO_COLOR: "1" },
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    return { stdout, stderr, status };
  }
});
