import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { openPostgresSink } from "../../src/audit/sinks/postgres.ts";
import { connectToStore } from "../../src/audit/sinks/postgres-connection.ts";
import { openStore } from "../../src/audit/sinks/postgres-read.ts";
import { type PostgresSettings, postgresSchema } from "../../src/audit/sinks/postgres-settings.ts";
import { DeliveryFailed } from "../../src/audit/sinks/sink.ts";
import { event } from "../support/audit-bodies.ts";
import { TestChain } from "../support/postgres-store.ts";
import { sinkPorts } from "../support/sinks.ts";

const NO_SIGNAL = new AbortController().signal;
const ANY_SIZE = 4 * 1024 * 1024;

/** A message as servers frame it: type, length, payload. */
function message(type: string, payload: Uint8Array | string = ""): Buffer {
  const bytes = Buffer.from(payload);
  const header = Buffer.from(`${type}....`, "latin1");
  header.writeUInt32BE(bytes.length + 4, 1);
  return Buffer.concat([header, bytes]);
}

const int16 = (value: number) => Buffer.from([(value >> 8) & 255, value & 255]);
const int32 = (value: number) => Buffer.concat([int16(value >> 16), int16(value)]);
/** Of one column: by default text. */
function columns(names: readonly string[], oid = 25, format = 0): Buffer {
  const each = names.flatMap((it) => [
    Buffer.from(`${it}\0`),
    int32(0),
    int16(0),
    int32(oid),
    int16(-1),
    int32(-1),
    int16(format),
  ]);
  return message("T", Buffer.concat([int16(names.length), ...each]));
}
const row = (...values: readonly string[]) =>
  message("D", Buffer.concat([int16(values.length), ...values.flatMap((it) => [int32(it.length), Buffer.from(it)])]));
const SILENCE = [Buffer.alloc(0), Buffer.alloc(0)];
const ready = message("Z", "I");
const welcome = Buffer.concat([
  message("R", int32(0)),
  message("S", "server_version\x0018.1\0"),
  message("K", Buffer.alloc(8, 7)),
  ready,
]);
const bound = Buffer.concat([message("1"), message("2")]);
const anError = (text: string) => message("E", `SERROR\0CXX000\0M${text}\0\0`);

/**
 * A server of the test's own: says `first` when it is greeted, and the next of `answers` to each thing that it is told after.
 * @param patienceMs hangs up when nothing came for so long, since not everything that it says lets a client go on
 */
async function server(first: Buffer, answers: readonly Buffer[] = [], patienceMs = 0) {
  const open: Socket[] = [];
  const listening = createServer((socket) => {
    open.push(socket);
    socket.on("error", () => undefined);
    const left = [...answers];
    socket.setTimeout(patienceMs, () => socket.end());
    socket.once("data", () => {
      socket.write(first);
      socket.on("data", () => {
        const next = left.shift();
        if (next) socket.write(next);
        // Whoever waits for more than is said finds out.
        if (left.length === 0) socket.end();
      });
      if (answers.length === 0) socket.end();
    });
  });
  const close = () => {
    for (const socket of open) socket.destroy();
    listening.close();
  };
  onTestFinished(close);
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  return { port: (listening.address() as AddressInfo).port, open, close };
}

function settingsOf(port: number): PostgresSettings {
  const password = { file: "/nowhere" };
  const place = { host: "127.0.0.1", port, tls: "local", database: "logs", user: "gateway", password };
  return postgresSchema.parse({ type: "postgres", name: "central", ...place });
}

/** When the other side has closed, however it did. */
const gone = (socket: Socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()));

/** What the sink says of a server that it delivers a record to. */
async function problemWith(first: Buffer, answers: readonly Buffer[] = [], patienceMs?: number): Promise<string> {
  const { port, close } = await server(first, answers, patienceMs);
  await using sink = await openPostgresSink(settingsOf(port), sinkPorts);
  const chain = new TestChain(1);
  chain.add(event({ n: 1 }));
  try {
    await sink.deliver(chain.batch(), NO_SIGNAL);
  } catch (error) {
    expect(error).toBeInstanceOf(DeliveryFailed);
    return error instanceof Error ? error.message : "";
  } finally {
    close();
  }
  return expect.fail("was delivered");
}

const MALFORMED: readonly (readonly [name: string, bytes: Buffer])[] = [
  ["a notice without an end", message("N", "SABC")],
  ["an error without an end", message("E", "SABC")],
  ["a notice whose end is missing", message("N", "SABC\0")],
  ["a notice with something behind its end", message("N", "SABC\0\0X")],
  ["an error without anything", message("E")],
  ["a parameter without a value", message("S", "name\0")],
  ["a length that is shorter than itself", Buffer.from("N\0\0\0\x03")],
  ["a length of 2 GiB", Buffer.from("D\x7f\xff\xff\xff", "latin1")],
  ["a length of 4 GiB", Buffer.from("N\xff\xff\xff\xff", "latin1")],
  ["an error of a megabyte", anError("x".repeat(1024 * 1024))],
  ["what has no type", Buffer.from("\0\0\0\0\x04")],
  ["something to copy", message("G", "\0")],
  ["copied data", message("d", "abc")],
  ["a request to log in that nobody knows", message("R", int32(99))],
  ["a request to log in without a code", message("R")],
  ["login methods without an end", message("R", Buffer.concat([int32(10), Buffer.from("SCRAM-SHA-256\0")]))],
];

const IN_ANSWERS: readonly (readonly [name: string, bytes: Buffer])[] = [
  ["columns of a byte", message("T", "\0")],
  ["columns that are not there", message("T", int16(3))],
  ["fewer than no columns", message("T", int16(-1))],
  ["thousands of columns", columns(Array(2_000).fill("a"))],
  ["a binary column", columns(["version"], 25, 1)],
  ["a row without columns", row("1")],
  ["a short row", Buffer.concat([columns(["version"]), message("D", "\0")])],
  ["a row of another width", Buffer.concat([columns(["version"]), row("1", "2")])],
  [
    "a value that ends behind its row",
    Buffer.concat([columns(["version"]), message("D", Buffer.concat([int16(1), int32(900)]))]),
  ],
  [
    "a value that goes backwards",
    Buffer.concat([columns(["version"]), message("D", Buffer.concat([int16(1), int32(-8)]))]),
  ],
  ["a command without an end", message("C", "SELECT 1")],
  ["being ready for nothing that there is", message("Z", "X")],
  ["a request to log in, again", message("R", int32(0))],
  ["an end too many", Buffer.concat([anError("no"), ready, ready])],
];

test.each(MALFORMED)("%s is refused: while connecting, in an answer", async (_, bytes) => {
  for (const said of [
    await problemWith(bytes),
    await problemWith(Buffer.concat([welcome.subarray(0, -ready.length), bytes])),
    await problemWith(welcome, [Buffer.concat([bound, bytes])]),
  ]) {
    expect(said).toMatch(/^central \(PostgreSQL at 127\.0\.0\.1:\d+\/logs\): the server does not keep to PostgreSQL's/);
  }
});

test.each(IN_ANSWERS.slice(0, -1))("%s is refused in an answer", async (_, bytes) => {
  expect(await problemWith(welcome, [Buffer.concat([bound, bytes])])).toMatch(/does not keep to PostgreSQL's protocol/);
});

test("between queries, and while it closes: the connection is cut, and nothing else happens", async () => {
  for (const [, bytes] of [...MALFORMED, ...IN_ANSWERS]) {
    const { port, open } = await server(welcome, SILENCE);
    const connection = await connectToStore(settingsOf(port), sinkPorts, NO_SIGNAL, ANY_SIZE);
    const [socket] = open;
    const closed = socket && gone(socket);
    expect(connection.isUsable).toBe(true);
    socket?.write(bytes);
    await closed;
    expect(connection.isUsable).toBe(false);
    await expect(connection.query("SELECT 1", [], NO_SIGNAL)).rejects.toThrow();
    const other = await connectToStore(settingsOf(port), sinkPorts, NO_SIGNAL, ANY_SIZE);
    const [, last] = open;
    const closedToo = last && gone(last);
    last?.write(bytes);
    other[Symbol.dispose]();
    await closedToo;
  }
});

test("a login is one: no step of it comes again, and nobody is in before it is over", async () => {
  expect(await problemWith(Buffer.concat([message("R", int32(3)), message("R", int32(3))]))).toMatch(/repeats a step/);
  expect(await problemWith(ready)).toMatch(/ready before it has let anybody in/);
});

test("an error's code is the server's word too: nothing of it is looked up or printed as it stands", async () => {
  for (const code of ["__proto__", "constructor", "\x1b[2J", "x".repeat(10_000)]) {
    const said = await problemWith(message("E", `SFATAL\0C${code}\0\0`));
    expect(said).toMatch(/^central \(PostgreSQL at [^ ]*\): [\u0020-\u007e\ufffd\u2026]{1,400}$/);
    expect(said).not.toContain("[object");
  }
});

test("an answer without an end, of large rows or of small ones, is cut short", async () => {
  const small = Buffer.concat([columns([]), ...Array(100_000).fill(row())]);
  const large = Buffer.concat([columns(["version"]), row("x".repeat(3_000_000)), row("x".repeat(3_000_000))]);
  const notices = Buffer.concat(Array(100_000).fill(message("N", "SNOTICE\0\0")));
  for (const much of [small, large, notices]) {
    expect(await problemWith(welcome, [Buffer.concat([bound, much])])).toMatch(/answer is larger than 4 MiB/);
  }
  expect(await problemWith(notices)).toMatch(/answer is larger than 4 MiB/);
});

test("the server says what a value is, and that does not keep the gateway busy", async () => {
  for (const oid of [1184, 1082, 1186, 600, 718, 17, 1115]) {
    const answer = Buffer.concat([
      bound,
      columns(["version"], oid),
      row("1".repeat(3_000_000)),
      message("C", "SELECT 1\0"),
    ]);
    expect(await problemWith(welcome, [Buffer.concat([answer, ready])])).toMatch(/its schema has version 1{9}/);
  }
});

const ANSWER = Buffer.concat([bound, columns(["version"], 23), row("7"), message("C", "SELECT 1\0"), ready]);

test("what is sound is read, whatever pieces it comes in", async () => {
  const notice = message("N", "SNOTICE\0VNOTICE\0C00000\0Mhow do you do\0\0");
  const long = Buffer.concat([
    notice,
    bound,
    message("A", Buffer.concat([int32(9), Buffer.from("channel\0\0")])),
    columns(["version", "more"], 23),
    row("7", "8".repeat(200_000)),
    message("C", "SELECT 1\0"),
    ready,
  ]);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(ANSWER, long), fc.array(fc.nat(300_000), { maxLength: 8 }), async (answer, at) => {
      const { port, open, close } = await server(welcome, SILENCE);
      using connection = await connectToStore(settingsOf(port), sinkPorts, NO_SIGNAL, ANY_SIZE);
      const asked = connection.query("SELECT $1", ["1"], NO_SIGNAL);
      const cuts = [0, ...at.map((it) => it % answer.length).toSorted((a, b) => a - b), answer.length];
      for (const [index, from] of cuts.entries()) {
        open[0]?.write(answer.subarray(from, cuts[index + 1] ?? answer.length));
        await new Promise(setImmediate);
      }
      expect((await asked).rows[0]).toMatchObject({ version: 7 });
      expect(connection.isUsable).toBe(true);
      close();
    }),
    { numRuns: 40 },
  );
  const { port, open } = await server(welcome, SILENCE);
  using connection = await connectToStore(settingsOf(port), sinkPorts, NO_SIGNAL, ANY_SIZE);
  const asked = connection.query("SELECT $1", ["1"], NO_SIGNAL);
  open[0]?.setNoDelay(true);
  for (const byte of ANSWER) {
    open[0]?.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  expect((await asked).rows).toEqual([{ version: 7 }]);
});

test("whatever a server says, a delivery fails and the process goes on", async () => {
  const type = fc.constantFrom(..."RSKZENATDCI123nstGHWdcv");
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(fc.constantFrom(0, 0, 0, 1, 2, 65, 255), { maxLength: 40 }).map((it) => Uint8Array.from(it)),
    fc.constantFrom(int32(0), int32(3), int32(5), int32(10), int32(11), int32(12), Buffer.from("a\0b\0")),
  );
  const framed = fc.tuple(type, payload).map(([of, bytes]) => message(of, bytes));
  const sound = fc.constantFrom(welcome, ready, bound, ANSWER, anError("no"), columns(["version"], 1009), row('{{,"}'));
  const noise = fc.uint8Array({ maxLength: 100 }).map((it) => Buffer.from(it));
  const said = fc.array(fc.oneof(framed, framed, sound, noise), { maxLength: 8 }).map((it) => Buffer.concat(it));
  const greeting = fc.oneof(fc.constant(welcome), fc.constant(welcome), said);
  await fc.assert(
    fc.asyncProperty(greeting, fc.array(said, { maxLength: 3 }), async (first, answers) => {
      expect(await problemWith(first, answers, 20)).toMatch(/^central \(PostgreSQL at /);
    }),
    { numRuns: 400 },
  );
});

test("whoever reads a store has the same guard, and asks for smaller pages where one is too large", async () => {
  const fails = await server(welcome, [Buffer.concat([message("C", "SET\0"), ready]), message("N", "SABC")]);
  using store = await openStore(settingsOf(fails.port), sinkPorts);
  await expect(store.chains()).rejects.toThrow(/does not keep to PostgreSQL's protocol/);
  const set = Buffer.concat([message("C", "SET\0"), ready]);
  const names = columns(["line", "chain", "seq", "at"]);
  const large = row("x".repeat(15 * 1024 * 1024), "chain-1", "1", "2026-01-01 00:00:00+00");
  const page = Buffer.concat([bound, names, ...Array(5).fill(large)]);
  const limits: string[] = [];
  const listening = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(welcome);
      socket.on("data", (asked: Buffer) => {
        const limit = /LIMIT (\d+)/.exec(asked.toString("latin1"))?.[1];
        if (limit !== undefined) limits.push(limit);
        if (limit === undefined) socket.write(set);
        else if (Number(limit) > 8) socket.write(page);
        else socket.write(Buffer.concat([bound, names, large, message("C", "SELECT 1\0"), ready]));
      });
    });
  });
  listening.listen(0, "127.0.0.1");
  onTestFinished(() => void listening.close());
  await once(listening, "listening");
  using other = await openStore(settingsOf((listening.address() as AddressInfo).port), sinkPorts);
  const lines = await Array.fromAsync(other.lines("chain-1"));
  expect(lines.map((it) => it.length)).toEqual([15 * 1024 * 1024]);
  expect(limits).toEqual(["500", "63", "8"]);
});
