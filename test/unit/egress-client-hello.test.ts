import { execFile } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NotTls, readClientHello } from "../../src/egress/client-hello.ts";

/** The first bytes that a client sends to a server that says nothing. */
async function firstBytesOf(start: (port: number) => { stop(): void }): Promise<Buffer> {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer(accepted.resolve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = start((server.address() as AddressInfo).port);
  const socket = await accepted.promise;
  try {
    let bytes = Buffer.alloc(0);
    while (bytes.length < 5 || bytes.length < 5 + bytes.readUInt16BE(3)) {
      const [chunk] = await once(socket, "data");
      bytes = Buffer.concat([bytes, chunk]);
    }
    return bytes;
  } finally {
    socket.on("error", () => undefined).destroy();
    client.stop();
    server.close();
  }
}

function helloOfNode(options: ConnectionOptions): Promise<Buffer> {
  return firstBytesOf((port) => {
    const client = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    client.on("error", () => undefined);
    return { stop: () => client.destroy() };
  });
}

const opensslMissing = await new Promise<boolean>((resolve) =>
  execFile("openssl", ["version"], (error) => resolve(error !== null)),
);

function helloOfOpenssl(...args: string[]): Promise<Buffer> {
  return firstBytesOf((port) => {
    const client = execFile("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args], () => undefined);
    return { stop: () => client.kill("SIGKILL") };
  });
}

describe("node:tls", () => {
  test.each<[options: ConnectionOptions, serverName: string | undefined]>([
    [{ servername: "example.org" }, "example.org"],
    [{ servername: "example.org", minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }, "example.org"],
    [{ servername: "a.b.example.org", ALPNProtocols: ["h2", "http/1.1"] }, "a.b.example.org"],
    [
      { servername: `${"a".repeat(60)}.${"b".repeat(60)}.example.org` },
      `${"a".repeat(60)}.${"b".repeat(60)}.example.org`,
    ],
    [{ servername: "" }, undefined],
    [{}, undefined],
  ])("with %j", async (options, serverName) => {
    const bytes = await helloOfNode(options);
    expect(readClientHello(bytes)).toEqual({ encrypted: false, ...(serverName && { serverName }) });
  });
});

describe.skipIf(opensslMissing)("the openssl program", () => {
  test.each<[args: string[], serverName: string | undefined]>([
    [["-servername", "example.org"], "example.org"],
    [["-servername", "EXAMPLE.org", "-tls1_2"], "EXAMPLE.org"],
    [["-servername", "example.org", "-tls1_3", "-groups", "P-256:X25519:P-521"], "example.org"],
    [["-noservername"], undefined],
    [
      ["-servername", "example.org", "-alpn", "h2,http/1.1", "-status", "-nextprotoneg", "x", "-no_tls1_3"],
      "example.org",
    ],
  ])("with %j", async (args, serverName) => {
    const bytes = await helloOfOpenssl(...args);
    expect(readClientHello(bytes)).toEqual({ encrypted: false, ...(serverName && { serverName }) });
  });
});

test("as long as a byte is missing, more is asked for; what follows does not matter", async () => {
  for (const options of [
    { servername: "example.org" },
    { servername: "example.org", maxVersion: "TLSv1.2" as const },
  ]) {
    const bytes = await helloOfNode(options);
    for (let length = 0; length < bytes.length; length++)
      expect([length, readClientHello(bytes.subarray(0, length))]).toEqual([length, undefined]);
    const whole = readClientHello(bytes);
    expect(whole?.serverName).toBe("example.org");
    for (const it of [Buffer.from([23, 3, 3, 0, 1, 0]), Buffer.from("GET /"), bytes])
      expect(readClientHello(Buffer.concat([bytes, it]))).toEqual(whole);
  }
});

// What follows is put together by hand, so that it can be wrong in one place.

const u8 = (it: number) => Buffer.from([it]);
const u16 = (it: number) => Buffer.from([it >> 8, it & 255]);
const u24 = (it: number) => Buffer.from([it >> 16, (it >> 8) & 255, it & 255]);
const vector = (size: (it: number) => Buffer, ...parts: Buffer[]) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([size(body.length), body]);
};

const extension = (type: number, body: Buffer) => Buffer.concat([u16(type), vector(u16, body)]);
const nameOf = (text: string, type = 0) => Buffer.concat([u8(type), vector(u16, Buffer.from(text, "latin1"))]);
const serverName = (...names: Buffer[]) => extension(0, vector(u16, ...names));
const GREASE = extension(0x0a0a, Buffer.alloc(0));
const PADDING = extension(21, Buffer.alloc(200));

const helloBody = (...extensions: Buffer[]) =>
  Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    vector(u8, Buffer.alloc(32)),
    vector(u16, u16(0x1301)),
    vector(u8, u8(0)),
    vector(u16, ...extensions),
  ]);
const message = (body: Buffer, type = 1) => Buffer.concat([u8(type), vector(u24, body)]);
const record = (part: Buffer, type = 22) => Buffer.concat([u8(type), u16(0x0301), vector(u16, part)]);
const hello = (...extensions: Buffer[]) => record(message(helloBody(...extensions)));

describe("put together by hand", () => {
  test("it is read wherever the name stands among the extensions", () => {
    const name = serverName(nameOf("example.org"));
    for (const it of [[name], [GREASE, name], [name, PADDING], [GREASE, PADDING, name]])
      expect(readClientHello(hello(...it))).toEqual({ encrypted: false, serverName: "example.org" });
    expect(readClientHello(hello(GREASE))).toEqual({ encrypted: false });
    expect(readClientHello(hello())).toEqual({ encrypted: false });
  });

  test("one without extensions at all names nobody", () => {
    expect(readClientHello(record(message(helloBody().subarray(0, -2))))).toEqual({ encrypted: false });
  });

  test("Encrypted Client Hello is told, beside the name that it shows", () => {
    const bytes = hello(serverName(nameOf("public.example")), extension(0xfe0d, Buffer.alloc(50)));
    expect(readClientHello(bytes)).toEqual({ encrypted: true, serverName: "public.example" });
    expect(readClientHello(hello(extension(0xfe0d, Buffer.alloc(0))))).toEqual({ encrypted: true });
  });

  test("cut into records anywhere, it is the same one", () => {
    const whole = message(helloBody(GREASE, serverName(nameOf("example.org"))));
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: whole.length - 1 }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, fc.nat(), (places, cut) => {
        const ends = [0, ...places.toSorted((a, b) => a - b), whole.length];
        const bytes = Buffer.concat(ends.slice(1).map((end, at) => record(whole.subarray(ends[at], end))));
        expect(readClientHello(bytes)).toEqual({ encrypted: false, serverName: "example.org" });
        expect(readClientHello(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("cut into more records than any client makes, it is none: to read it again and again would take too long", () => {
    const whole = message(helloBody(serverName(nameOf("example.org"))));
    const inRecords = (count: number) => {
      const bytewise = [...whole.subarray(0, count - 1)].map((it) => record(u8(it)));
      return Buffer.concat([...bytewise, record(whole.subarray(count - 1))]);
    };
    expect(readClientHello(inRecords(64))?.serverName).toBe("example.org");
    expect(() => readClientHello(inRecords(65))).toThrow("in too many records");
  });

  test("another kind of record between its parts ends it", () => {
    const whole = message(helloBody(serverName(nameOf("example.org"))));
    for (const type of [20, 21, 23, 0]) {
      const bytes = Buffer.concat([record(whole.subarray(0, 20)), record(whole.subarray(20), type)]);
      expect(() => readClientHello(bytes)).toThrow(NotTls);
    }
  });

  test.each<[what: string, bytes: Buffer, problem: string]>([
    ["the name twice", hello(serverName(nameOf("a.org")), serverName(nameOf("b.org"))), "stands twice"],
    ["the same name twice", hello(serverName(nameOf("a.org")), serverName(nameOf("a.org"))), "stands twice"],
    ["another extension twice", hello(GREASE, GREASE), "stands twice"],
    ["two names in one list", hello(serverName(nameOf("a.org"), nameOf("b.org"))), "server name"],
    ["a name of another type", hello(serverName(nameOf("a.org", 1))), "server name"],
    ["a name of another type beside one", hello(serverName(nameOf("x", 1), nameOf("a.org"))), "server name"],
    ["an empty list of names", hello(serverName()), "cut short"],
    ["no list of names", hello(extension(0, Buffer.alloc(0))), "cut short"],
    ["bytes behind the name", hello(extension(0, Buffer.concat([vector(u16, nameOf("a.org")), u8(0)]))), "server name"],
    [
      "a name that is longer than its list",
      hello(extension(0, vector(u16, u8(0), u16(99), Buffer.from("a.org")))),
      "server name",
    ],
    ["an extension that is longer than all of them", hello(Buffer.concat([u16(5), u16(99), u8(0)])), "too long"],
    ["half an extension", hello(u8(0)), "cut short"],
    ["bytes behind the extensions", record(message(Buffer.concat([helloBody(GREASE), u8(0)]))), "another length"],
    [
      "extensions that are longer than the message",
      record(message(helloBody(GREASE).subarray(0, -1))),
      "another length",
    ],
    ["a message that ends in its ciphers", record(message(helloBody().subarray(0, 68))), "cut short"],
    ["an empty message", record(message(Buffer.alloc(0))), "cut short"],
    ["another handshake message", record(message(helloBody(), 2)), "no ClientHello"],
    ["an empty record", record(Buffer.alloc(0)), "impossible length"],
    ["a record over 16 KiB", record(Buffer.alloc(16_641, 1)), "impossible length"],
    ["a message over 64 KiB", record(Buffer.concat([u8(1), u24(65_533), Buffer.alloc(100)])), "too long"],
    ["an alert", record(Buffer.from([2, 40]), 21), "no TLS handshake"],
    ["SSL 2", Buffer.from("802e0100020015000000100100800300800700c0", "hex"), "no TLS handshake"],
    ["another major version", Buffer.from([22, 2]), "no TLS handshake"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n"), "no TLS handshake"],
    ["SSH", Buffer.from("S"), "no TLS handshake"],
  ])("%s is no hello", (_, bytes, problem) => {
    expect(() => readClientHello(bytes)).toThrow(NotTls);
    expect(() => readClientHello(bytes)).toThrow(problem);
  });

  test("the largest message that is taken is read, over many records", () => {
    const spare = 65_532 - helloBody(serverName(nameOf("a.org"))).length - 4;
    const body = helloBody(serverName(nameOf("a.org")), extension(21, Buffer.alloc(spare)));
    expect(body.length).toBe(65_532);
    const whole = message(body);
    const parts = [0, 1, 2, 3].map((it) => record(whole.subarray(it * 16_384, (it + 1) * 16_384)));
    expect(readClientHello(Buffer.concat(parts))?.serverName).toBe("a.org");
  });

  test("a name is given as it was sent, byte for byte", () => {
    for (const name of ["EXAMPLE.org", "a b", "a\0b.org", "\xff\xfe", ""])
      expect(readClientHello(hello(serverName(nameOf(name))))).toEqual({ encrypted: false, serverName: name });
  });
});

/** `undefined`, a hello, or NotTls; never anything else. */
function outcome(bytes: Buffer): string {
  try {
    const read = readClientHello(bytes);
    return read === undefined ? "more" : "hello";
  } catch (error) {
    if (error instanceof NotTls) return "none";
    throw error;
  }
}

test("whatever bytes come, it is a hello, no hello, or more is needed; and more bytes never change a verdict", () => {
  const valid = hello(GREASE, serverName(nameOf("example.org")), PADDING);
  const changed = fc
    .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      const bytes = Buffer.from(valid);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
  const framed = fc.uint8Array({ maxLength: 200 }).map((it) => record(message(Buffer.from(it))));
  const extended = fc.uint8Array({ maxLength: 60 }).map((it) => hello(Buffer.from(it)));
  const raw = fc.uint8Array({ maxLength: 100 }).map((it) => Buffer.from(it));
  fc.assert(
    fc.property(fc.oneof(changed, framed, extended, raw), fc.nat(), (bytes, cut) => {
      const first = outcome(bytes.subarray(0, cut % (bytes.length + 1)));
      const then = outcome(bytes);
      if (first !== "more") expect(then).toBe(first);
    }),
    { numRuns: 5_000 },
  );
});
