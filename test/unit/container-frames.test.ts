import { Duplex, PassThrough, type Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { demultiplex, frameSplitter, type Piece } from "../../src/container/frames.ts";

function frame(type: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function joined(pieces: readonly Piece[], stream: Piece["stream"]): string {
  return Buffer.concat(pieces.filter((it) => it.stream === stream).map((it) => it.bytes)).toString("hex");
}

const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 200 })), { maxLength: 20 });

test("however the bytes are cut, both streams come out whole and in order", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(([type, payload]) => frame(type, payload)));
      const split = frameSplitter(false);
      const pieces: Piece[] = [];
      for (let at = 0, cut = 0; at < bytes.length; cut += 1) {
        const size = cuts[cut % cuts.length] ?? 1;
        pieces.push(...split(bytes.subarray(at, at + size)));
        at += size;
      }
      split.end();
      const expected = (type: number) =>
        Buffer.concat(sent.filter(([it]) => it === type).map(([, payload]) => payload)).toString("hex");
      expect(joined(pieces, "stdout")).toBe(expected(1));
      expect(joined(pieces, "stderr")).toBe(expected(2));
    }),
  );
});

test("no bytes whatsoever make the splitter fail in any way but its own, or hold more than a header", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
      const split = frameSplitter(false);
      try {
        for (const chunk of chunks) {
          for (const piece of split(Buffer.from(chunk))) expect(piece.bytes.length).toBeLessThanOrEqual(chunk.length);
        }
        split.end();
      } catch (error) {
        expect(error).toMatchObject({ code: "CHANNEL_VIOLATION" });
      }
    }),
  );
});

test.each([
  ["an unknown stream", Buffer.from([3, 0, 0, 0, 0, 0, 0, 1, 65])],
  ["the program's own input", Buffer.from([0, 0, 0, 0, 0, 0, 0, 1, 65])],
  ["a header with something in its zeros", Buffer.from([1, 0, 1, 0, 0, 0, 0, 1, 65])],
  ["a frame of four gigabytes", Buffer.from([1, 0, 0, 0, 255, 255, 255, 255])],
])("%s is a violation [G13]", async (_name, bytes) => {
  const connection = new PassThrough();
  const outputs = demultiplex(connection);
  connection.write(bytes);
  expect(await outputs.ended).toMatchObject({ code: "CHANNEL_VIOLATION" });
  expect(await text(outputs.stdout)).toBe("");
  expect(connection.destroyed).toBe(true);
});

test.each([3, 12])(
  "a connection that ends %i bytes into a frame is a violation, and what came is kept",
  async (bytes) => {
    const connection = new PassThrough();
    const outputs = demultiplex(connection);
    connection.end(frame(1, Buffer.from("hello")).subarray(0, bytes));
    expect(await outputs.ended).toMatchObject({ code: "CHANNEL_VIOLATION" });
    expect(await text(outputs.stdout)).toBe("hello".slice(0, Math.max(0, bytes - 8)));
  },
);

test("a connection that breaks ends both streams without an error, and tells why", async () => {
  const connection = new PassThrough();
  const outputs = demultiplex(connection);
  connection.write(frame(2, Buffer.from("so far")));
  connection.destroy(Object.assign(new Error("gone"), { code: "ECONNRESET" }));
  expect(await outputs.ended).toMatchObject({ code: "ECONNRESET" });
  expect(await Promise.all([text(outputs.stdout), text(outputs.stderr)])).toEqual(["", expect.any(String)]);
});

test("a reader that is behind holds the connection back [G13]", async () => {
  let produced = 0;
  const piece = frame(1, Buffer.alloc(32_768));
  const connection = new Duplex({
    read() {
      produced += 1;
      this.push(produced <= 2000 ? piece : null);
    },
  });
  const outputs = demultiplex(connection);
  for (let turns = 0; turns < 100; turns += 1) await turn();
  const stalled = produced;
  expect(stalled).toBeLessThan(10);
  for (let turns = 0; turns < 100; turns += 1) await turn();
  expect(produced).toBe(stalled);
  expect(await sizeOf(outputs.stdout)).toBe(2000 * 32_768);
  expect(await outputs.ended).toBeUndefined();
});

test("output that nobody wants any more does not hold up the other stream", async () => {
  const connection = new PassThrough();
  const outputs = demultiplex(connection);
  outputs.stdout.destroy();
  for (let sent = 0; sent < 20; sent += 1) connection.write(frame(1, Buffer.alloc(32_768)));
  connection.end(frame(2, Buffer.from("still here")));
  expect(await text(outputs.stderr)).toBe("still here");
  expect(await outputs.ended).toBeUndefined();
});

async function sizeOf(stream: Readable): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length;
  return bytes;
}
