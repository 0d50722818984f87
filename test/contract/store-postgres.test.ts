import { spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { readChain } from "../../src/audit/read.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { compareStore } from "../../src/audit/sinks/compare-store.ts";
import { openPostgresSink } from "../../src/audit/sinks/postgres.ts";
import { openStore } from "../../src/audit/sinks/postgres-read.ts";
import { verifyStore } from "../../src/audit/sinks/verify-store.ts";
import { chains, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { postgresPrograms, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { emptyStore, makeStore, portsFor, secretFile, settingsFor, TestChain } from "../support/postgres-store.ts";

const installed = postgresPrograms() !== undefined;
if (!installed) console.warn("skipped: PostgreSQL is not installed (apt-get install postgresql)");

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const NO_SIGNAL = new AbortController().signal;
const ANYHOW = "SET session_replication_role = replica; ";

describe.skipIf(!installed)("verifying and querying a central store in PostgreSQL", () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
    await makeStore(postgres);
  });
  afterAll(async () => await postgres?.[Symbol.asyncDispose]());

  const asReader = () => settingsFor(postgres, { user: "analyst" });
  const anyhow = (sql: string) => postgres.query(ANYHOW + sql);

  /** A log of two chains over several segments, and all of it in an empty store. */
  async function shippedLog(): Promise<string> {
    await emptyStore(postgres);
    const directory = join(scratch(), "audit");
    {
      await using one = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 4_000 });
      await using two = await openAuditLog({ directory, gateway: "gw-2", segmentBytes: 4_000 });
      for (let n = 0; n < 30; n++) {
        for (const log of [one, two]) await log.append(n % 2 ? outcome(`call-${n - 1}`) : intent(`call-${n}`));
      }
    }
    await ship(directory);
    return directory;
  }

  async function ship(directory: string): Promise<void> {
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    for (const chain of chains(directory)) {
      const entries = await Array.fromAsync(readChain(join(directory, chain), () => true));
      const [first, ...others] = entries;
      if (first) await sink.deliver({ chain, entries: [first, ...others] }, NO_SIGNAL);
    }
  }

  async function verified() {
    using store = await openStore(asReader(), portsFor(postgres));
    return await verifyStore(store);
  }

  async function compared(directory: string, { confirmed = new Map(), isAlone = false } = {}) {
    // A gateway's own role is enough.
    using store = await openStore(settingsFor(postgres), portsFor(postgres));
    return await compareStore(directory, store, { confirmed, isAlone });
  }

  test("a store that nobody touched verifies, and is what the log is", async () => {
    const directory = await shippedLog();
    const whole = { chains: 2, problemCount: 0, problems: [] };
    const result = await verified();
    expect(result).toMatchObject(whole);
    expect(result.records).toBeGreaterThan(60);
    expect(await compared(directory, { isAlone: true })).toMatchObject({
      ...whole,
      records: result.records,
      unshipped: 0,
    });
  });

  test("its lines are the log's, chain by chain, in order, over pages", async () => {
    await emptyStore(postgres);
    const chain = new TestChain(1);
    for (let n = 0; n < 650; n++) chain.add(event({ n }));
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    using store = await openStore(asReader(), portsFor(postgres));
    expect((await store.chains()).map((it) => it.chain)).toEqual([chain.id]);
    const lines = await Array.fromAsync(store.lines(chain.id));
    expect(lines.map(String)).toEqual(chain.entries.map((it) => it.text));
  });

  test("each change of the store is found, with its place", async () => {
    const directory = await shippedLog();
    const [chain = ""] = chains(directory);
    await postgres.query(
      "CREATE TABLE records_before AS SELECT * FROM glovebox.records; CREATE TABLE positions_before AS SELECT * FROM glovebox.positions",
    );
    onTestFinished(async () => void (await postgres.query("DROP TABLE records_before, positions_before")));
    const one = `chain = '${chain}' AND seq = 5`;
    const last = "(SELECT max(seq) FROM glovebox.records r WHERE r.chain = p.chain)";
    const move = (from: number, to: number) =>
      `UPDATE glovebox.records SET seq = ${to} WHERE chain = '${chain}' AND seq = ${from}`;
    const cases: [name: string, sql: string, kind: string, alsoCompared: boolean][] = [
      [
        "altered",
        `UPDATE glovebox.records SET line = replace(line, '"status":"ok"', '"status":"oh"') WHERE ${one}`,
        "form",
        false,
      ],
      [
        "altered, and still a record",
        `UPDATE glovebox.records SET line = replace(line, 'call-', 'cull-') WHERE ${one}`,
        "hash",
        false,
      ],
      ["a column", `UPDATE glovebox.records SET status = 'error' WHERE ${one}`, "column", false],
      ["words", `UPDATE glovebox.records SET words = '' WHERE ${one}`, "column", false],
      ["a body", `UPDATE glovebox.records SET body = jsonb_set(body, '{callId}', '"x"') WHERE ${one}`, "column", false],
      ["a time", `UPDATE glovebox.records SET time = time - interval '1 hour' WHERE ${one}`, "column", false],
      ["a hash", `UPDATE glovebox.records SET hash = repeat('1', 64) WHERE ${one}`, "column", true],
      ["removed", `DELETE FROM glovebox.records WHERE ${one}`, "sequence", true],
      ["reordered", `${move(5, 99_999)}; ${move(6, 5)}; ${move(99_999, 6)}`, "sequence", true],
      ["truncated", `DELETE FROM glovebox.records WHERE chain = '${chain}' AND seq > 20`, "position", true],
      [
        "truncated, with its position",
        `DELETE FROM glovebox.records WHERE chain = '${chain}' AND seq > 20; UPDATE glovebox.positions p SET seq = ${last}, hash = (SELECT hash FROM glovebox.records r WHERE r.chain = p.chain AND r.seq = 20) WHERE chain = '${chain}'`,
        "",
        true,
      ],
      [
        "a chain removed, with its position",
        `DELETE FROM glovebox.records WHERE chain = '${chain}'; DELETE FROM glovebox.positions WHERE chain = '${chain}'`,
        "",
        true,
      ],
      ["a position removed", `DELETE FROM glovebox.positions WHERE chain = '${chain}'`, "position", true],
      [
        "a record doubled",
        `INSERT INTO glovebox.records SELECT (jsonb_populate_record(r, '{"time": "2026-01-01T00:00:00Z"}')).* FROM glovebox.records r WHERE ${one}`,
        "sequence",
        false,
      ],
    ];
    const confirmed = new Map((await positions()).map((it) => [it.chain, { seq: Number(it.seq), hash: it.hash }]));
    for (const [name, sql, kind, alsoCompared] of cases) {
      await anyhow(sql);
      const own = await verified();
      if (kind === "") expect(own.problemCount, name).toBe(0);
      else {
        expect(
          own.problems.map((it) => it.kind),
          name,
        ).toContain(kind);
        expect(
          own.problems.every((it) => it.chain === chain),
          name,
        ).toBe(true);
      }
      const both = await compared(directory, { confirmed });
      expect(both.problemCount > 0, name).toBe(alsoCompared);
      await anyhow(
        `TRUNCATE glovebox.records, glovebox.positions; INSERT INTO glovebox.records SELECT * FROM records_before; INSERT INTO glovebox.positions SELECT * FROM positions_before`,
      );
    }
    expect((await verified()).problemCount).toBe(0);
  });

  const positions = () =>
    postgres.query<{ chain: string; seq: string; hash: string }>("SELECT * FROM glovebox.positions");

  test("each change of the log is found against the store", async () => {
    const directory = await shippedLog();
    const [chain = "", other = ""] = chains(directory);
    const confirmed = new Map((await positions()).map((it) => [it.chain, { seq: Number(it.seq), hash: it.hash }]));
    const own = (name: string, at = chain) => join(directory, at, name);
    const copy = join(scratch(), "copy");
    cpSync(directory, copy, { recursive: true });
    const cases: [name: string, change: () => void | Promise<void>, kind: string][] = [
      ["a segment removed", () => rmSync(own("000002.jsonl")), "missing"],
      ["shortened, with its head", shorten, "missing"],
      ["rewritten, with every hash and its head", rewrite, "differs"],
      ["a chain removed", () => rmSync(join(directory, chain), { recursive: true }), "missing"],
      ["all removed", () => rmSync(directory, { recursive: true }), "missing"],
      ["a segment of another chain", () => copyFileSync(own("000002.jsonl", other), own("000002.jsonl")), "differs"],
    ];
    for (const [name, change, kind] of cases) {
      await change();
      const result = await compared(directory, { confirmed });
      expect(
        result.problems.map((it) => it.kind),
        name,
      ).toContain(kind);
      rmSync(directory, { recursive: true, force: true });
      cpSync(copy, directory, { recursive: true });
    }
    rmSync(join(directory, chain), { recursive: true });
    expect((await compared(directory)).problemCount).toBe(0);
    expect(await compared(directory, { isAlone: true })).toMatchObject({ problems: [{ kind: "missing", chain }] });

    function shorten(): void {
      const names = segments(join(directory, chain));
      for (const name of names.slice(1)) rmSync(own(name));
    }
    async function rewrite(): Promise<void> {
      const told = await Array.fromAsync(readChain(join(directory, chain), () => true));
      rmSync(join(directory, chain), { recursive: true });
      const forged = new TestChain(0);
      Object.assign(forged, { id: chain });
      for (const [n, { record }] of told.entries())
        forged.add(n === 7 ? event({ harmless: true }) : record.body, record.time);
      mkdirSync(join(directory, chain));
      writeFileSync(own("000001.jsonl"), forged.entries.map((it) => `${it.text}\n`).join(""));
    }
  });

  test("what is not shipped yet is counted, and is no problem; a gateway may write meanwhile", async () => {
    const directory = await shippedLog();
    await using log = await openAuditLog({ directory, gateway: "gw-3" });
    for (let n = 0; n < 5; n++) await log.append(event({ n }));
    expect(await compared(directory)).toMatchObject({ problemCount: 0, unshipped: 5 });
    const [chain] = chains(directory).filter((it) => it === log.chain);
    const confirmed = new Map([[chain ?? "", { seq: 1_000, hash: "0".repeat(64) }]]);
    expect((await compared(directory, { confirmed })).problems[0]).toMatchObject({ kind: "position", seq: 1_000 });
  });

  test("retention drops days, and what stays still verifies and compares; a change of it is still found", async () => {
    await emptyStore(postgres);
    const chain = new TestChain(1);
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString();
    for (const offset of [-40, -40, -30, -31, -29, -2, -1, 0, 0]) chain.add(event({ offset }), day(offset));
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    const dropped = await postgres.query<{ drop_before: string }>("SELECT glovebox.drop_before(current_date - 30)");
    expect(dropped).toHaveLength(2);
    // Of record 3, whose clock was set back, the partition is gone: record 2 stays, behind where the chain is checked from.
    expect(await verified()).toMatchObject({ problemCount: 0, records: 5 });
    await anyhow("DELETE FROM glovebox.records WHERE seq = 4");
    expect((await verified()).problems).toMatchObject([{ kind: "sequence", seq: 5 }]);
    await sink.deliver(chain.batch(), NO_SIGNAL);
    expect(await verified()).toMatchObject({ problemCount: 0 });
  });

  test("retention reaches records whose day has no partition, and none that a chain needs", async () => {
    await emptyStore(postgres);
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString();
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    const chains: string[] = [];
    const made = async (n: number, ...offsets: number[]) => {
      const chain = new TestChain(n);
      chains.push(chain.id);
      for (const offset of offsets) chain.add(event({ offset }), day(offset));
      await sink.deliver(chain.batch(), NO_SIGNAL);
    };
    await made(1, -500, -450, -40, -500, -1, 0);
    await made(2, -1, -500, 0);
    await made(3, 900, -40);
    await made(4, -500, -450);
    await anyhow("UPDATE glovebox.records SET received = now() - interval '1 year'");
    // Their clocks were wrong just now.
    await made(5, 900, -1);
    await made(6, -500, -450);
    const seqs = async () => {
      const text = "SELECT chain, seq FROM glovebox.records ORDER BY chain, seq";
      const rows = await postgres.query<{ chain: string; seq: string }>(text);
      return chains.map((chain) => rows.filter((it) => it.chain === chain).map((it) => Number(it.seq)));
    };
    const drop = () => postgres.query<{ drop_before: string }>("SELECT glovebox.drop_before(current_date - 30)");
    const dropped = (await drop()).map((it) => it.drop_before);
    expect(dropped).toEqual([expect.stringMatching(/^records_[0-9]{8}$/), "records_other"]);
    expect(await seqs()).toEqual([[4, 5], [0, 1, 2], [], [], [0, 1], [0, 1]]);
    expect(await verified()).toMatchObject({ problemCount: 0, records: 9 });
    expect(await drop()).toEqual([]);
    await expect(postgres.query("DELETE FROM glovebox.records_other")).rejects.toThrow(/append-only/);
    await expect(postgres.query("DELETE FROM glovebox.records")).rejects.toThrow(/append-only/);
  });

  test("each question of the documentation is answered by an index", async () => {
    await emptyStore(postgres);
    const chain = new TestChain(1);
    // Of yesterday, so that what asks for today has nothing to read there.
    const begin = Date.parse(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`) - 86_400_000;
    const add = (body: RecordBody) => chain.add(body, new Date(begin + chain.entries.length * 5_000).toISOString());
    add(event({ host: "laptop-7", user: "ada" }, "gateway-started"));
    for (let n = 0; n < 3_000; n++) {
      const sessionId = `ses-${n}`;
      const call = intent(`call-${n}`, { argv: ["echo", `word${n}`] });
      const principal = { ...call.principal, id: `local:u${n}` };
      const policies = [{ id: `p${n}`, effect: "permit" }] as const;
      add({ ...call, principal, tool: `tool${n}`, sessionId, decision: n % 100 ? "permit" : "deny", policies });
      add(outcome(`call-${n}`, { exitCode: n % 100 }));
      const reached = { host: `h${n}.example.com`, calls: [`call-${n}`] };
      add({ ...event(reached, "connection-opened"), sessionId });
      const named = { purl: `pkg:npm/x@${n}.0.0`, ecosystem: "npm", name: "x", version: `${n}.0.0` };
      add({ ...event(named, "package-admitted"), sessionId });
    }
    await using sink = await openPostgresSink(settingsFor(postgres), portsFor(postgres));
    for (let n = 0; n < chain.entries.length; n += 1_000) await sink.deliver(chain.batch(n, n + 1_000), NO_SIGNAL);
    await using client = await postgres.connect();
    await client.query("VACUUM ANALYZE glovebox.records");
    await client.query("SET ROLE glovebox_reader");
    const [busiest] = (
      await client.query(
        "SELECT tableoid::regclass::text AS name FROM glovebox.records GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
      )
    ).rows;
    for (const query of documentedQueries()) {
      const { rows } = await client.query<{ "QUERY PLAN": string }>(`EXPLAIN ${query}`);
      const plan = rows.map((it) => it["QUERY PLAN"]).join("\n");
      const table = busiest.name.replace("glovebox.", "");
      expect(plan, `${query}\n${plan}`).not.toContain(`Seq Scan on ${table} `);
      expect(plan.includes(table), query).toBe(plan.includes(`Index Scan`) || plan.includes("Index Only Scan"));
      const answer = await client.query(query);
      if (query.includes("AS computer")) {
        expect(answer.rows).toMatchObject([
          { principal: "local:u5", tool: "tool5", computer: "laptop-7", account: "ada" },
        ]);
      }
    }
    expect(documentedQueries().filter((it) => it.includes("AS computer"))).toHaveLength(1);
  });

  /** Of docs/logging-postgres.md, with values in place of psql's variables. */
  function documentedQueries(): string[] {
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "logging-postgres.md"), "utf8");
    const questions = page.slice(page.indexOf("## Questions"), page.indexOf("## Retention"));
    const blocks = [...questions.matchAll(/```sql\n([^`]+)```/g)].map(([, sql = ""]) => sql);
    expect(blocks.length).toBeGreaterThanOrEqual(8);
    const values: Readonly<Record<string, string>> = {
      principal: "'local:u5'",
      session: "'ses-5'",
      call: "'call-5'",
      host: "'h5.example.com'",
      package: "'npm:x@5.0.0'",
      policy: "'p5'",
      words: "'word5'",
    };
    return blocks
      .flatMap((block) => block.split(";"))
      .filter((it) => it.trim() !== "")
      .map((it) => {
        return it.replaceAll(/:'([a-z]+)'/g, (_, name: string) => values[name] ?? expect.fail(`no value for ${name}`));
      });
  }

  test("the command verifies and compares, by a file of settings, and prints nothing that a store has made up", async () => {
    const directory = await shippedLog();
    const data = join(directory, "..");
    const { host, port, database } = postgres;
    const ca = secretFile(postgres, "ca.pem", postgres.authority.certificate);
    const password = { file: secretFile(postgres, "reader.password", "correct-horse") };
    const settings = join(data, "reader.yaml");
    writeFileSync(
      settings,
      JSON.stringify({ type: "postgres", name: "central", host, port, database, user: "analyst", password, ca }),
    );
    const whole = await store("verify", "--settings", settings);
    expect(whole).toMatchObject({
      status: 0,
      stderr: "",
      stdout: expect.stringMatching(/^the store 127\.0\.0\.1:\d+\/logs is whole: \d+ records in 2 chains\n$/),
    });
    expect((await store("compare", "--settings", settings, "--data-dir", data, "--alone")).status).toBe(0);
    const [chain] = chains(directory);
    await anyhow(`UPDATE glovebox.records SET chain = E'\\x1b[2J' WHERE chain = '${chain}'`);
    const changed = await store("verify", "--settings", settings);
    expect(changed).toMatchObject({ status: 1, stderr: "" });
    expect(changed.stdout).not.toContain("\u001b");
    expect(await store("verify")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("give one with --settings"),
    });
    const printed = await store("schema", "--schema", "other");
    expect(printed.stdout).toContain("CREATE TABLE IF NOT EXISTS other.records");
  });

  async function store(...args: string[]) {
    const child = spawn(process.execPath, [ENTRY, "audit", "store", ...args], {
      env: { ...process.env, NO_COLOR: "1" },
    });
    const [stdout, stderr, status] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise((resolve) => child.once("exit", resolve)),
    ]);
    return { stdout, stderr, status };
  }

  test("nothing of a server is left when it is disposed", async () => {
    const other = await startPostgres();
    const { pid, directory } = other;
    await other[Symbol.asyncDispose]();
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    expect(() => readdirSync(directory)).toThrow(/ENOENT/);
  });
});
