import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { buffer } from "node:stream/consumers";
import { finished } from "node:stream/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuestConnection } from "../../src/egress/guest-connection.ts";
import type { GatewayError } from "../../src/errors.ts";

interface Guest {
  readonly connection: GuestConnection;
  /** The guest agent's end of the tunnel. */
  readonly far: Duplex;
  readonly condemned: GatewayError[];
  /** Which service was asked for. */
  readonly services: string[];
}

/** A connection to a guest agent that is this test. */
function open(question: object = {}): Guest {
  const [near, far] = duplexPair({ allowHalfOpen: true });
  far.on("error", () => undefined);
  const condemned: GatewayError[] = [];
  const services: string[] = [];
  const machine = {
    connect: (service: string) => {
      services.push(service);
      return near;
    },
    condemn: (reason: GatewayError) => void condemned.push(reason),
  };
  return { connection: new GuestConnection(machine, "/connection", question), far, condemned, services };
}

const DATA = 1;
const MESSAGE = 3;

function frame(type: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

const say = (it: unknown) => frame(MESSAGE, Buffer.from(JSON.stringify(it)));
const data = (it: string | Uint8Array) => frame(DATA, Buffer.from(it));
const OPENED = say({ opened: { host: "example.org", port: 443 } });
const ENDED = say({ ended: true });

/** The bytes at these places' ends, in pieces. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((it) => it % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((to, at) => bytes.subarray(places[at], to));
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("the question goes first, with its length, and then what is written", async () => {
  const { connection, far, services } = open({ port: 8080 });
  connection.end("hello");
  const sent = await buffer(far);
  const question = Buffer.from('{"port":8080}');
  expect(sent.readUInt32BE(0)).toBe(question.length);
  expect(sent.subarray(4).toString()).toBe(`${question}hello`);
  expect(services).toEqual(["/connection"]);
  connection.destroy();
});

test("what was dialled is told; nothing when it is the proxy", async () => {
  for (const opened of [
    { host: "example.org", port: 443 },
    { host: "", port: 0 },
    { host: "192.0.2.7", port: 65_535 },
  ]) {
    const { connection, far } = open();
    far.write(say({ opened }));
    expect(await connection.opened).toEqual(opened);
    connection.destroy();
  }
});

test("however the frames are cut into chunks, the same bytes come out, and the end is the guest's", async () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(bodies, fc.array(fc.nat(3_000), { maxLength: 30 }), async (sent, cuts) => {
      const { connection, far, condemned } = open();
      const wire = Buffer.concat([OPENED, ...sent.map(data), ENDED]);
      for (const it of pieces(wire, cuts)) far.write(it);
      expect(await connection.opened).toEqual({ host: "example.org", port: 443 });
      expect(await buffer(connection)).toEqual(Buffer.concat(sent));
      expect(condemned).toEqual([]);
      connection.destroy();
    }),
    { numRuns: 200 },
  );
});

test("a byte at a time does as well", async () => {
  const { connection, far } = open();
  for (const it of Buffer.concat([OPENED, data("he"), data(""), data("llo"), ENDED])) far.write(Buffer.of(it));
  expect((await buffer(connection)).toString()).toBe("hello");
});

describe("an end", () => {
  test("of the guest's program leaves the other direction open", async () => {
    const { connection, far } = open();
    far.write(Buffer.concat([OPENED, data("question"), ENDED]));
    expect((await buffer(connection)).toString()).toBe("question");
    expect(connection.writable).toBe(true);
    connection.end("answer");
    expect((await buffer(far)).subarray(6).toString()).toBe("answer");
    await finished(connection);
    expect(connection.errored).toBeNull();
  });

  test("of ours leaves the guest's open", async () => {
    const { connection, far } = open();
    far.write(OPENED);
    connection.end("question");
    expect((await buffer(far)).subarray(6).toString()).toBe("question");
    far.write(data("ans"));
    await turn();
    far.end(Buffer.concat([data("wer"), ENDED]));
    expect((await buffer(connection)).toString()).toBe("answer");
    await finished(connection);
  });
});

describe("a break", () => {
  test.each<[what: string, wire: Buffer]>([
    ["before there is a connection", Buffer.alloc(0)],
    ["in the middle of a frame", OPENED.subarray(0, 5)],
    ["of a connection that is open", OPENED],
    ["after some bytes", Buffer.concat([OPENED, data("half")])],
    ["in the middle of bytes", Buffer.concat([OPENED, data("half").subarray(0, -1)])],
  ])("%s is an error, not an end", async (_, wire) => {
    const { connection, far, condemned } = open();
    far.end(wire);
    await expect(buffer(connection)).rejects.toMatchObject({ code: "CONNECTION_FAILED", message: "broken off" });
    expect(condemned).toEqual([]);
    if (wire.length < OPENED.length)
      await expect(connection.opened).rejects.toMatchObject({ code: "CONNECTION_FAILED" });
    else await connection.opened;
  });

  test("of the tunnel itself is one of the connection, with its reason", async () => {
    const [near] = duplexPair();
    const connection = new GuestConnection({ connect: () => near, condemn: () => undefined }, "/dial", {});
    near.destroy(new Error("machine lost"));
    await expect(connection.opened).rejects.toThrow("machine lost");
    expect(connection.destroyed).toBe(true);
  });

  test("of ours ends the tunnel, and nobody has to listen", async () => {
    const [near, far] = duplexPair();
    far.resume();
    const connection = new GuestConnection({ connect: () => near, condemn: () => undefined }, "/dial", {});
    connection.destroy(new Error("policy"));
    await expect(connection.opened).rejects.toThrow("policy");
    expect(near.destroyed).toBe(true);
    await turn();
  });

  test("after both ends is none", async () => {
    const { connection, far, condemned } = open();
    far.resume();
    far.write(Buffer.concat([OPENED, ENDED]));
    connection.resume().end();
    far.end();
    await finished(connection);
    expect([connection.errored, condemned]).toEqual([null, []]);
  });
});

test("a guest that can't connect says why", async () => {
  const { connection, far, condemned } = open();
  far.write(say({ failed: { code: "ECONNREFUSED" } }));
  await expect(connection.opened).rejects.toMatchObject({ code: "CONNECTION_FAILED", message: "ECONNREFUSED" });
  expect([connection.destroyed, condemned]).toEqual([true, []]);
});

test.each<[what: string, ...wire: Buffer[]]>([
  ["bytes before there is a connection", data("x")],
  ["bytes after the end", OPENED, ENDED, data("x")],
  ["a second opening", OPENED, OPENED],
  ["an end of what isn't open", ENDED],
  ["a second end", OPENED, ENDED, ENDED],
  ["a failure of what is open", OPENED, say({ failed: { code: "x" } })],
  ["bytes behind a failure", Buffer.concat([say({ failed: { code: "x" } }), data("x")])],
  ["a message that isn't JSON", frame(MESSAGE, Buffer.from("{"))],
  ["a message that isn't UTF-8", frame(MESSAGE, Buffer.from([0x22, 0xff]))],
  ["a message of another shape", say({ opened: { host: "a" } })],
  ["a message with a key too many", say({ opened: { host: "a", port: 1 }, more: 1 })],
  ["two messages in one", say({ opened: { host: "a", port: 1 }, ended: true })],
  ["a list", say([])],
  ["a host that is too long", say({ opened: { host: "a".repeat(254), port: 1 } })],
  ["a port that is none", say({ opened: { host: "a", port: 65_536 } })],
  ["half a port", say({ opened: { host: "a", port: 0.5 } })],
  ["an end that is none", OPENED, say({ ended: false })],
  ["a failure that is too long", say({ failed: { code: "x".repeat(301) } })],
  ["another kind of frame", OPENED, frame(2, Buffer.from("x"))],
  ["a kind of frame that nobody has", OPENED, frame(9, Buffer.from("x"))],
  ["a header with other bytes than zeros", Buffer.from([1, 0, 1, 0, 0, 0, 0, 1])],
  ["a message over 64 KiB", Buffer.from([MESSAGE, 0, 0, 0, 0, 1, 0, 1])],
  ["a frame over 1 MiB", OPENED, Buffer.from([DATA, 0, 0, 0, 0, 16, 0, 1])],
])("[G13] %s costs the guest its machine", async (_, ...wire) => {
  const { connection, far, condemned } = open();
  connection.resume();
  for (const it of wire) far.write(it);
  if (!connection.closed) await new Promise((resolve) => connection.once("close", resolve));
  expect(condemned.map((it) => it.code)).toEqual(["CHANNEL_VIOLATION"]);
  expect(connection.errored).toMatchObject({ code: expect.stringMatching(/^(CHANNEL_VIOLATION|CONNECTION_FAILED)$/) });
});

test("[G13] whatever bytes a guest sends, the machine is condemned or nothing comes of them", async () => {
  const any = fc.uint8Array({ maxLength: 60 }).map((it) => Buffer.from(it));
  const framed = fc
    .tuple(fc.constantFrom(DATA, 2, MESSAGE), fc.uint8Array({ maxLength: 20 }))
    .map(([type, body]) => frame(type, body));
  const parts = fc.array(
    fc.oneof(any, framed, fc.constantFrom(OPENED, ENDED, data("x"), say({ failed: { code: "x" } }))),
    { maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(parts, fc.array(fc.nat(500), { maxLength: 6 }), async (wire, cuts) => {
      const { connection, far, condemned } = open();
      connection.resume();
      for (const it of pieces(Buffer.concat(wire), cuts)) far.write(it);
      await turn();
      await turn();
      for (const it of condemned) expect(it.code).toBe("CHANNEL_VIOLATION");
      if (condemned.length > 0) expect(connection.destroyed).toBe(true);
      connection.destroy();
    }),
    { numRuns: 500 },
  );
});

describe("[G13] pace", () => {
  test("a guest that sends is held back while nobody reads, and all arrives when somebody does", async () => {
    const { connection, far } = open();
    expect(far.write(OPENED)).toBe(true);
    await connection.opened;
    const chunk = data(Buffer.alloc(16_384, 7));
    let sent = 0;
    while (sent < 200 && far.write(chunk)) {
      sent += 1;
      await turn();
    }
    expect(sent).toBeLessThan(20);
    expect(connection.readableLength).toBeLessThan(8 * 16_384);
    const reading = buffer(connection);
    for (let n = sent + 1; n < 200; n++) if (!far.write(chunk)) await once(far, "drain");
    far.end(ENDED);
    expect((await reading).length).toBe(200 * 16_384);
  });

  test("we are held back while a guest doesn't read", async () => {
    const { connection, far } = open();
    expect(far.write(OPENED)).toBe(true);
    await connection.opened;
    let sent = 0;
    while (sent < 200 && connection.write(Buffer.alloc(16_384))) {
      sent += 1;
      await turn();
    }
    expect(sent).toBeLessThan(20);
    expect(connection.writableNeedDrain).toBe(true);
    far.resume();
    await once(connection, "drain");
    connection.destroy();
  });
});
