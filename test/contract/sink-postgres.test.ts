import { hash } from "node:crypto";
import { createServer } from "node:net";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { IntentBody, Json } from "../../src/audit/record.ts";
import { openPostgresSink } from "../../src/audit/sinks/postgres.ts";
import { type PostgresSettings, postgresSchema } from "../../src/audit/sinks/postgres-settings.ts";
import { DeliveryFailed, type Sink } from "../../src/audit/sinks/sink.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { postgresPrograms, startPostgres, type TestPostgres } from "../support/postgres.ts";
import {
  emptyStore,
  makeStore,
  portsFor,
  SCHEMA,
  secretFile,
  settingsFor,
  TestChain,
} from "../support/postgres-store.ts";
import { createAuthority } from "../support/postgres-tls.ts";

const installed = postgresPrograms() !== undefined;
if (!installed) console.warn("skipped: PostgreSQL is not installed (apt-get install postgresql)");

const NO_SIGNAL = new AbortController().signal;

describe.skipIf(!installed)("a central store in PostgreSQL", () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
    await makeStore(postgres);
  });
  afterAll(async () => await postgres?.[Symbol.asyncDispose]());
  beforeEach(async () => await emptyStore(postgres));

  async function sinkOf(settings: PostgresSettings = settingsFor(postgres), ports = portsFor(postgres)): Promise<Sink> {
    const sink = await openPostgresSink(settings, ports);
    onTestFinished(() => sink[Symbol.asyncDispose]());
    return sink;
  }

  const lines = async () =>
    (await postgres.query<{ line: string }>("SELECT line FROM glovebox.records ORDER BY chain, seq")).map(
      (it) => it.line,
    );
  const problem = (delivery: Promise<void>): Promise<DeliveryFailed> =>
    delivery.then(
      () => expect.fail("was delivered"),
      (error) => (error instanceof DeliveryFailed ? error : expect.fail(`another error: ${error}`)),
    );

  test("the SQL can be run again, by another session at the same time too, and changes nothing", async () => {
    const snapshot = async () =>
      await postgres.query(`SELECT c.relname, c.relkind, c.relacl::text, c.oid FROM pg_class c
        WHERE c.relnamespace = 'glovebox'::regnamespace ORDER BY 1`);
    const before = await snapshot();
    await Promise.all([postgres.query(SCHEMA), postgres.query(SCHEMA)]);
    expect(await snapshot()).toEqual(before);
    expect(before.length).toBeGreaterThan(15);
  });

  test("what is delivered is there to the byte, and its columns say what it says", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    const { principal, ...denied } = intent("call-2", { argv: ["curl", "https://api.example.com/v1"] });
    chain.add(event({ n: 1 }, "gateway-started"));
    chain.add(intent("call-1", { argv: ["python3", "/workspace/main.py"] }));
    chain.add(outcome("call-1", { exitCode: 3 }));
    chain.add({ ...denied, principal: { ...principal, id: "local:grace" }, decision: "deny" });
    const opened = {
      connectionId: "conn-1",
      host: "api.example.com",
      port: 443,
      policies: ["net.cedar#api"],
      calls: ["call-1"],
    };
    chain.add(event(opened, "connection-opened"));
    const admitted = { purl: "pkg:npm/left-pad@1.3.0", ecosystem: "npm", name: "left-pad", version: "1.3.0" };
    chain.add(event({ ...admitted, policies: [], calls: ["call-1"] }, "package-admitted"));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));
    const rows = await postgres.query("SELECT * FROM glovebox.records ORDER BY seq");
    expect(rows).toMatchObject([
      {
        kind: "event",
        event: "gateway-started",
        chain: chain.id,
        gateway: "gw-test",
        session_id: "ses-1",
        recorded_by: "gateway",
      },
      {
        kind: "intent",
        call_id: "call-1",
        tool: "exec",
        decision: "permit",
        principal: "local:ada",
        client: "test 1.0.0",
      },
      { kind: "outcome", call_id: "call-1", status: "ok", exit_code: 3, duration_ms: 5 },
      { decision: "deny", principal: "local:grace", policies: ["main.cedar#exec"] },
      { event: "connection-opened", hosts: ["api.example.com"], policies: ["net.cedar#api"], calls: ["call-1"] },
      { packages: ["npm:left-pad", "npm:left-pad@1.3.0", "pkg:npm/left-pad@1.3.0"] },
    ]);
    for (const [index, { record }] of chain.entries.entries()) {
      expect(rows[index]).toMatchObject({
        body: record.body,
        hash: record.hash,
        prev: record.prev,
        time: new Date(record.time),
      });
    }
  });

  test("an outage in the middle: each record is there once, and what was confirmed before is there", async () => {
    const sink = await sinkOf();
    const chains = [new TestChain(1), new TestChain(2)];
    for (const chain of chains)
      for (let n = 0; n < 600; n++) chain.add(n % 2 ? outcome(`call-${n}`) : intent(`call-${n}`));
    for (const chain of chains) await sink.deliver(chain.batch(0, 200), NO_SIGNAL);
    // In the middle of a delivery, so that nobody knows what arrived of it.
    const [first = new TestChain(1)] = chains;
    const caught = sink.deliver(first.batch(200, 400), NO_SIGNAL).catch((error: unknown) => error);
    await postgres.stop();
    await caught;
    const down = await problem(sink.deliver(first.batch(200, 400), NO_SIGNAL));
    expect([down.code, down.message]).toEqual(["SINK_FAILED", expect.stringContaining(sink.target)]);
    await postgres.start();
    expect((await lines()).length).toBeGreaterThanOrEqual(400);
    for (const chain of chains) {
      await sink.deliver(chain.batch(200, 400), NO_SIGNAL);
      await sink.deliver(chain.batch(350, 600), NO_SIGNAL);
    }
    expect(await lines()).toEqual(chains.flatMap((it) => it.entries).map((it) => it.text));
  });

  test("a repetition, of all or of a part, adds nothing; what retention dropped is kept again", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    for (let n = 0; n < 50; n++) chain.add(event({ n }));
    await sink.deliver(chain.batch(0, 20), NO_SIGNAL);
    await sink.deliver(chain.batch(0, 20), NO_SIGNAL);
    await sink.deliver(chain.batch(5, 30), NO_SIGNAL);
    await sink.deliver(chain.batch(3, 8), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.slice(0, 30).map((it) => it.text));
    const [position] = await postgres.query("SELECT seq, hash FROM glovebox.positions");
    expect(position).toEqual({ seq: "29", hash: chain.entries[29]?.record.hash });
    await postgres.query("SET session_replication_role = replica; DELETE FROM glovebox.records WHERE seq < 10");
    await sink.deliver(chain.batch(0, 50), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));
  });

  test("another record of the same number is refused and named, whatever its time, and nothing is overwritten", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    for (let n = 0; n < 5; n++) chain.add(event({ n }));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    const before = await lines();
    const times = [chain.entries[2]?.record.time ?? "", "2026-01-01T00:00:00.000Z"];
    for (const time of times) {
      const other = new TestChain(1);
      for (let n = 0; n < 2; n++) other.add(event({ n }), chain.entries[n]?.record.time);
      for (let n = 2; n < 7; n++) other.add(event({ n: `other ${n}` }), time);
      for (const batch of [other.batch(0, 4), other.batch(2, 3), other.batch(), other.batch(5, 7)]) {
        expect((await problem(sink.deliver(batch, NO_SIGNAL))).message).toMatch(
          new RegExp(`has another record [24] of ${chain.id} than this log.*nothing was overwritten`),
        );
      }
    }
    expect(await lines()).toEqual(before);
    const gap = await problem(sink.deliver({ ...chain.batch(), entries: [jumped(chain)] }, NO_SIGNAL));
    expect(gap.message).toContain(`has ${chain.id} up to record 4, and record 6 was to be next`);
    // It goes on with the chain as it was.
    await sink.deliver(chain.batch(5, 6), NO_SIGNAL);

    function jumped(of: TestChain) {
      of.add(event({ n: 5 }));
      return of.add(event({ n: 6 }));
    }
  });

  test("somebody else holds the chain's position: it waits, gives up when it is told to, and delivers later", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    for (let n = 0; n < 4; n++) chain.add(event({ n }));
    await sink.deliver(chain.batch(0, 2), NO_SIGNAL);
    await using other = await postgres.connect();
    await other.query("BEGIN; SELECT * FROM glovebox.positions FOR UPDATE");
    const stop = new AbortController();
    const delivery = sink.deliver(chain.batch(2), stop.signal);
    await waits();
    const reason = new Error("enough");
    stop.abort(reason);
    await expect(delivery).rejects.toBe(reason);
    const later = sink.deliver(chain.batch(2), NO_SIGNAL);
    await waits();
    await other.query("COMMIT");
    await later;
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));

    /** Until a session waits for the lock. */
    async function waits(): Promise<void> {
      const blocked =
        "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'gateway'";
      while ((await other.query(blocked)).rows[0].n === "0") await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  test("a server that is held up: the delivery ends when it is told to", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    chain.add(event({ n: 0 }));
    const [backend] = await (async () => {
      await sink.deliver(chain.batch(), NO_SIGNAL);
      return postgres.query<{ pid: number }>("SELECT pid FROM pg_stat_activity WHERE usename = 'gateway'");
    })();
    const pid = backend?.pid ?? expect.fail("no connection");
    process.kill(pid, "SIGSTOP");
    onTestFinished(() => void process.kill(pid, "SIGCONT"));
    chain.add(event({ n: 1 }));
    await expect(sink.deliver(chain.batch(1), AbortSignal.timeout(300))).rejects.toThrow(/timeout/);
    await sink.deliver(chain.batch(1), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));
  });

  test("who may not log in, or lacks a right, is told what to do", async () => {
    const chain = new TestChain(1);
    chain.add(event({ n: 0 }));
    const wrong = { file: secretFile(postgres, "wrong.password", "not-the-password") };
    const cases: [Readonly<Record<string, unknown>>, RegExp][] = [
      [{ password: wrong }, /refuses the password of `gateway`/],
      [{ password: undefined }, /asks for a password, and sink `central` has none/],
      [
        { user: "stranger" },
        /`stranger` lacks a right: let its owner run the SQL that `glovebox audit store schema` prints/,
      ],
      [{ user: "analyst" }, /`analyst` lacks a right/],
      [{ database: "nowhere" }, /there is no database `nowhere`/],
      [{ schema: "elsewhere" }, /there is no schema `elsewhere`: let its owner run/],
    ];
    for (const [more, message] of cases) {
      const sink = await sinkOf(settingsFor(postgres, more));
      const { message: said } = await problem(sink.deliver(chain.batch(), NO_SIGNAL));
      expect(said).toMatch(message);
      expect(said).not.toMatch(/correct-horse|not-the-password/);
    }
    expect(await lines()).toEqual([]);
  });

  test("nothing is taken from the environment that PostgreSQL's own programs go by", async () => {
    const names = {
      PGPASSWORD: "correct-horse",
      PGSSLMODE: "no-verify",
      PGHOST: "192.0.2.1",
      PGUSER: "owner",
      PGOPTIONS: "-c bad",
    };
    const before = { ...process.env };
    Object.assign(process.env, names);
    onTestFinished(() => {
      for (const name of Object.keys(names)) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    });
    const chain = new TestChain(1);
    chain.add(event({ n: 0 }));
    const without = await sinkOf(settingsFor(postgres, { password: undefined }));
    expect((await problem(without.deliver(chain.batch(), NO_SIGNAL))).message).toMatch(/asks for a password/);
    const untrusting = await sinkOf(settingsFor(postgres), portsFor(postgres, { authorities: async () => [] }));
    expect((await problem(untrusting.deliver(chain.batch(), NO_SIGNAL))).message).toMatch(
      /certificate is not accepted/,
    );
    await (await sinkOf()).deliver(chain.batch(), NO_SIGNAL);
  });

  test("TLS: another authority, another name, or none at all is refused before a password leaves", async () => {
    const chain = new TestChain(1);
    chain.add(event({ n: 0 }));
    const asked: string[] = [];
    const counting = portsFor(postgres, {
      secret: (name) => async () => {
        asked.push(name);
        return "correct-horse";
      },
    });
    const stranger = await createAuthority("other");
    const unknown = { ...counting, authorities: async () => [stranger.certificate] };
    expect(
      (await problem((await sinkOf(settingsFor(postgres), unknown)).deliver(chain.batch(), NO_SIGNAL))).message,
    ).toMatch(/certificate is not accepted/);
    const byFile = settingsFor(postgres, { ca: secretFile(postgres, "ca.pem", postgres.authority.certificate) });
    await (await sinkOf(byFile, unknown)).deliver(chain.batch(), NO_SIGNAL);
    asked.length = 0;
    await postgres.useCertificate("logs.example.com");
    onTestFinished(() => postgres.useCertificate("127.0.0.1"));
    expect(
      (await problem((await sinkOf(settingsFor(postgres), counting)).deliver(chain.batch(), NO_SIGNAL))).message,
    ).toMatch(/certificate is not accepted.*127\.0\.0\.1/);
    const plain = createServer((socket) => socket.on("error", () => undefined).once("data", () => socket.write("N")));
    plain.listen(0, "127.0.0.1");
    onTestFinished(() => void plain.close());
    await new Promise((resolve) => plain.once("listening", resolve));
    const { port } = plain.address() as { port: number };
    const toPlain = await sinkOf(settingsFor(postgres, { port }), counting);
    expect((await problem(toPlain.deliver(chain.batch(), NO_SIGNAL))).message).toMatch(/does not support SSL/);
    expect(asked).toEqual([]);
  });

  test("a client's certificate in place of a password; a unix socket; a way out that is the proxy's", async () => {
    const chain = new TestChain(1);
    for (let n = 0; n < 3; n++) chain.add(event({ n }));
    const { certificate, key } = await postgres.authority.client("by_certificate");
    const clientCertificate = {
      certificate: secretFile(postgres, "client.crt", certificate),
      key: secretFile(postgres, "client.key", key),
    };
    const byCertificate = settingsFor(postgres, { user: "by_certificate", password: undefined, clientCertificate });
    await (await sinkOf(byCertificate)).deliver(chain.batch(0, 1), NO_SIGNAL);
    const bySocket = settingsFor(postgres, { host: postgres.directory, tls: "local" });
    await (await sinkOf(bySocket)).deliver(chain.batch(1, 2), NO_SIGNAL);
    const dialled: string[] = [];
    const { connect } = await import("node:net");
    const through = async (host: string, port: number) => {
      dialled.push(`${host}:${port}`);
      const socket = connect(postgres.port, "127.0.0.1");
      await new Promise((resolve) => socket.once("connect", resolve));
      return socket;
    };
    await (await sinkOf(settingsFor(postgres), portsFor(postgres, { through }))).deliver(chain.batch(2), NO_SIGNAL);
    expect(dialled).toEqual([`127.0.0.1:${postgres.port}`]);
    expect(await lines()).toHaveLength(3);
    const users = await postgres.query<{ by: string }>("SELECT recorded_by AS by FROM glovebox.records ORDER BY seq");
    expect(users.map((it) => it.by)).toEqual(["by_certificate", "gateway", "gateway"]);
  });

  test("texts of which PostgreSQL has no idea, or too much, are kept to the byte", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    const nul = "a\0b";
    const base = intent("call-1", {
      argv: [nul],
      [nul]: { deep: [nul, "\\u0000", "\u2028", "💥", "'; DROP TABLE records; --"] },
    });
    chain.add({ ...base, tool: nul, principal: { ...base.principal, id: `x${nul.repeat(50)}` }, sessionId: nul });
    const long: IntentBody = {
      ...intent("c".repeat(5_000)),
      tool: "t".repeat(100_000),
      policies: [{ id: "€".repeat(9_000), effect: "forbid" }],
    };
    chain.add(long, undefined, canonicalize(long));
    chain.add(
      event({
        host: "h".repeat(10_000),
        calls: Array.from({ length: 3_000 }, (_, n) => `call-${n}`),
        exitCode: 2 ** 40,
      }),
    );
    const words = Array.from({ length: 40_000 }, (_, n) => n.toString(36).padStart(4, "x")).join("-");
    chain.add(event({ words }), undefined, canonicalize(event({ words })));
    let deep: Json = "bottom";
    for (let n = 0; n < 3_000; n++) deep = [deep];
    chain.add(event(deep), undefined, canonicalize(event({ deep })));
    chain.add(event({ big: 1e308, small: 5e-324, negative: -0.1, exponent: 1e21 }));
    for (const time of ["0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"]) {
      chain.add(event({ time }), time);
    }
    await sink.deliver(chain.batch(), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));
    const rows = await postgres.query("SELECT * FROM glovebox.records ORDER BY seq");
    expect(rows[0]).toMatchObject({ tool: "a\ufffdb", session_id: "a\ufffdb" });
    expect(rows[4]?.["body"]).toBeNull();
    expect(rows[5]?.["body"]).toMatchObject({ facts: { big: 1e308, small: 5e-324, exponent: 1e21 } });
  });

  test("whatever is in a record, it is kept to the byte", async () => {
    const sink = await sinkOf();
    let number = 100;
    await using client = await postgres.connect();
    const string = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom("\0", "\\u0000", '{"}', "NULL", "\\N", "{}"),
    );
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ stringUnit: "binary" }), string, string, async (facts, tool, id) => {
        const chain = new TestChain(number++);
        const text = (value: string) => value.toWellFormed();
        chain.add({
          ...intent(text(id) || "c"),
          tool: text(tool),
          policies: [{ id: text(id), effect: "permit" }],
          arguments: facts as Json,
        });
        chain.add(event({ host: text(tool), purl: text(id), calls: [text(tool), text(id)], facts: facts as Json }));
        await sink.deliver(chain.batch(), NO_SIGNAL);
        const { rows } = await client.query<{ line: string }>(
          "SELECT line FROM glovebox.records WHERE chain = $1 ORDER BY seq",
          [chain.id],
        );
        expect(rows.map((it) => hash("sha256", it.line))).toEqual(chain.entries.map((it) => hash("sha256", it.text)));
      }),
      { numRuns: 50 },
    );
  });

  test("days have partitions: those of a backlog, today, and the next ones; whatever else comes has a place too", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString();
    for (const offset of [-500, -100, -3, -1, 0, 5_000]) chain.add(event({ offset }), day(offset));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    const found = await postgres.query<{ place: string }>(
      "SELECT tableoid::regclass::text AS place FROM glovebox.records ORDER BY seq",
    );
    const name = (offset: number) => `glovebox.records_${day(offset).slice(0, 10).replaceAll("-", "")}`;
    const other = "glovebox.records_other";
    expect(found.map((it) => it.place)).toEqual([other, ...[-100, -3, -1, 0].map(name), other]);
    const partitions = await postgres.query<{ name: string }>(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'glovebox.records'::regclass ORDER BY 1",
    );
    const ahead = Array.from({ length: 8 }, (_, offset) => name(offset));
    expect(partitions.map((it) => it.name)).toEqual(
      [...[-100, -3, -1].map(name), ...ahead, "glovebox.records_other"].sort(),
    );
  });

  test("somebody who reads for long holds up no delivery: without a partition a record goes where there is a place", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    for (let n = 0; n < 2; n++) chain.add(event({ n }));
    await using reader = await postgres.connect();
    await reader.query("BEGIN; SELECT count(*) FROM glovebox.records");
    await sink.deliver(chain.batch(0, 1), NO_SIGNAL);
    await reader.query("COMMIT");
    const other = await sinkOf();
    await other.deliver(chain.batch(1), NO_SIGNAL);
    expect(await lines()).toEqual(chain.entries.map((it) => it.text));
  });

  test("nor does a backlog of many days wait for that reader once for each of them", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    const DAYS = 60;
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString();
    for (let n = 0; n < DAYS; n++) chain.add(event({ n }), day(n - 2 * DAYS));
    chain.add(event({ n: DAYS }), day(-DAYS));
    await using reader = await postgres.connect();
    await reader.query("BEGIN; SELECT count(*) FROM glovebox.records");
    await sink.deliver(chain.batch(0, DAYS), NO_SIGNAL);
    await reader.query("COMMIT");
    // When the reader has gone, days have partitions again.
    await sink.deliver(chain.batch(DAYS), NO_SIGNAL);
    const places = await postgres.query<{ place: string; count: string }>(
      "SELECT tableoid::regclass::text AS place, count(*) AS count FROM glovebox.records GROUP BY 1 ORDER BY 1",
    );
    expect(places).toEqual([
      { place: `glovebox.records_${day(-DAYS).slice(0, 10).replaceAll("-", "")}`, count: "1" },
      { place: "glovebox.records_other", count: String(DAYS) },
    ]);
  });

  test("append-only: neither a gateway's role nor the owner changes or removes a record, or moves a position back", async () => {
    const sink = await sinkOf();
    const chain = new TestChain(1);
    for (let n = 0; n < 3; n++) chain.add(event({ n }));
    await sink.deliver(chain.batch(), NO_SIGNAL);
    const before = await lines();
    const [partition] = await postgres.query<{ name: string }>(
      "SELECT tableoid::regclass::text AS name FROM glovebox.records LIMIT 1",
    );
    const changes = [
      "UPDATE glovebox.records SET line = 'x'",
      "UPDATE glovebox.records SET tool = 'x' WHERE seq = 0",
      "DELETE FROM glovebox.records",
      "TRUNCATE glovebox.records",
      `TRUNCATE ${partition?.name}`,
      `DELETE FROM ${partition?.name}`,
      `UPDATE ${partition?.name} SET decision = 'permit'`,
      "DELETE FROM glovebox.positions",
      "UPDATE glovebox.positions SET seq = 1",
      "UPDATE glovebox.positions SET hash = repeat('1', 64)",
    ];
    for (const change of changes)
      await expect(postgres.query(change), change).rejects.toThrow(/append-only|only goes forward/);
    const asGateway = [
      ...changes,
      "SELECT line FROM glovebox.records",
      "SELECT body FROM glovebox.records",
      "INSERT INTO glovebox.records (received) VALUES (now())",
      "UPDATE glovebox.positions SET dropped_seq = 5",
      "DROP TABLE glovebox.records",
      "SELECT glovebox.drop_before(current_date)",
      "CREATE TABLE glovebox.mine (a int)",
    ];
    for (const change of asGateway) {
      await using client = await postgres.connect();
      await client.query("SET SESSION AUTHORIZATION gateway");
      await expect(client.query(change), change).rejects.toThrow(/permission denied|must be owner|only goes forward/);
    }
    expect(await lines()).toEqual(before);
  });

  test("each setting is checked: no TCP without TLS but on loopback, and no key that is not known", () => {
    const good = { type: "postgres", name: "central", host: "logs.example.com", database: "logs", user: "gateway" };
    expect(postgresSchema.parse(good)).toMatchObject({ port: 5432, tls: "verify-full", schema: "glovebox" });
    expect(postgresSchema.safeParse({ ...good, host: "::1", tls: "local" }).success).toBe(true);
    const bad = [
      { tls: "local" },
      { tls: "local", host: "localhost" },
      { tls: "local", host: "192.0.2.1" },
      { tls: "local", host: "0.0.0.0" },
      { tls: "prefer" },
      { tls: "verify-full", host: "/var/run/postgresql" },
      { host: "a b" },
      { host: "a,b" },
      { host: "" },
      { schema: "x; DROP" },
      { schema: "pg_temp" },
      { password: "plain" },
      { sslmode: "disable" },
      { port: 0 },
    ];
    for (const it of bad) expect(postgresSchema.safeParse({ ...good, ...it }).success, JSON.stringify(it)).toBe(false);
  });
});
