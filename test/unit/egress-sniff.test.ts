import { type Duplex, duplexPair } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { firstWords } from "../../src/egress/sniff.ts";

/** Both ends of a connection; the near one is the gateway's. */
function pair(): { near: Duplex; far: Duplex } {
  const [near, far] = duplexPair({ allowHalfOpen: true });
  for (const it of [near, far]) it.on("error", () => undefined);
  return { near, far };
}

/** A ClientHello without extensions. */
const HELLO = Buffer.concat([
  Buffer.from([22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3]),
  Buffer.alloc(32, 7),
  Buffer.from([0, 0, 2, 0x13, 1, 1, 0]),
]);

const SILENT = "the program waits for the other side to speak first, and only HTTP and TLS are carried";
const UNKNOWN = "it is neither TLS nor HTTP, and only these are carried";

test.each<[what: string, bytes: Buffer, words: object]>([
  ["a request", Buffer.from("GET / HTTP/1.1\r\n"), { protocol: "http" }],
  ["a method and a space", Buffer.from("X "), { protocol: "http" }],
  ["a method of twenty letters", Buffer.from(`${"M".repeat(20)} /`), { protocol: "http" }],
  ["a ClientHello", HELLO, { protocol: "tls", hello: { encrypted: false } }],
  [
    "a ClientHello and more",
    Buffer.concat([HELLO, Buffer.from("more")]),
    { protocol: "tls", hello: { encrypted: false } },
  ],
  [
    "HTTP/2 without TLS",
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM"),
    { protocol: "unknown", reason: "HTTP/2 is carried in TLS only" },
  ],
  ["a method of twenty-one letters", Buffer.from(`${"M".repeat(21)} /`), { protocol: "unknown", reason: UNKNOWN }],
  ["a method in lower case", Buffer.from("get / HTTP/1.1"), { protocol: "unknown", reason: UNKNOWN }],
  ["a line before it", Buffer.from("\r\nGET / HTTP/1.1"), { protocol: "unknown", reason: UNKNOWN }],
  ["SSH", Buffer.from("SSH-2.0-x\r\n"), { protocol: "unknown", reason: UNKNOWN }],
  ["zeros", Buffer.alloc(4), { protocol: "unknown", reason: UNKNOWN }],
  [
    "TLS that is none",
    Buffer.from([22, 3, 1, 0, 0]),
    { protocol: "unknown", reason: "a TLS record of an impossible length" },
  ],
])("%s is recognised, and all of it is put back", async (_, bytes, words) => {
  const { near, far } = pair();
  far.end(bytes);
  expect(await firstWords(near)).toEqual(words);
  expect(await buffer(near)).toEqual(bytes);
});

test("however it is cut, the same is recognised, at the same byte", async () => {
  const texts = fc.constantFrom(
    HELLO,
    Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Buffer.from("PRI * HTTP/2.0\r\n"),
  );
  await fc.assert(
    fc.asyncProperty(texts, fc.array(fc.nat(60), { maxLength: 6 }), async (bytes, cuts) => {
      const { near, far } = pair();
      const words = firstWords(near);
      const places = [0, ...cuts.map((it) => it % bytes.length).toSorted((a, b) => a - b), bytes.length];
      for (const [at, from] of places.slice(0, -1).entries()) {
        far.write(bytes.subarray(from, places[at + 1]));
        await new Promise(setImmediate);
      }
      far.end();
      const whole = pair();
      whole.far.end(bytes);
      expect(await words).toEqual(await firstWords(whole.near));
      expect(await buffer(near)).toEqual(bytes);
    }),
    { numRuns: 100 },
  );
});

test("who goes without a word has said none", async () => {
  const ended = pair();
  ended.far.end();
  expect(await firstWords(ended.near)).toEqual({ protocol: "none" });
  const broken = pair();
  const words = firstWords(broken.near);
  broken.near.destroy();
  expect(await words).toEqual({ protocol: "none" });
  const half = pair();
  half.far.end(HELLO.subarray(0, -1));
  expect(await firstWords(half.near)).toEqual({ protocol: "none" });
});

test("a hello that is still not there after 64 KiB is waited for no longer", async () => {
  const { near, far } = pair();
  const words = firstWords(near);
  const record = (body: Buffer) => Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0]), body]);
  far.write(record(Buffer.concat([Buffer.from([1, 0, 0xff, 0xfc]), Buffer.alloc(16_380)])));
  for (let n = 0; n < 2; n++) far.write(record(Buffer.alloc(16_384)));
  far.write(record(Buffer.alloc(16_383)));
  expect(await words).toEqual({ protocol: "unknown", reason: UNKNOWN });
});

afterEach(() => {
  vi.useRealTimers();
});

test("who waits for the other side is told so after ten seconds; who began and goes on slowly too", async () => {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
  const silent = pair();
  const slow = pair();
  const words = Promise.all([firstWords(silent.near), firstWords(slow.near)]);
  for (const it of HELLO.subarray(0, 11)) {
    slow.far.write(Buffer.of(it));
    await vi.advanceTimersByTimeAsync(900);
    await new Promise(setImmediate);
  }
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await words).toEqual([
    { protocol: "unknown", reason: SILENT },
    { protocol: "unknown", reason: SILENT },
  ]);
  for (const it of [silent, slow]) expect(it.near.listenerCount("readable")).toBe(0);
});
