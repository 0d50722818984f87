import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutputBuffer } from "../../src/session/output.ts";

const KEEP_ALL = 1_000_000;

function filled(retainBytes: number, ...chunks: (string | Uint8Array)[]): OutputBuffer {
  const buffer = new OutputBuffer(retainBytes);
  for (const chunk of chunks) buffer.append(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  buffer.end();
  return buffer;
}

function readAll(buffer: OutputBuffer, stepBytes: number): { text: string; skippedBytes: number } {
  let text = "";
  let skippedBytes = 0;
  for (let cursor = 0; ; ) {
    const piece = buffer.read(cursor, stepBytes);
    if (piece.nextCursor === cursor) return { text, skippedBytes };
    text += piece.text;
    skippedBytes += piece.skippedBytes;
    cursor = piece.nextCursor;
  }
}

describe("reading with a cursor", () => {
  test("gives what came, in pieces, and counts it", () => {
    const buffer = filled(KEEP_ALL, "hello ", "world");
    expect(buffer.read(0, 6)).toEqual({ text: "hello ", nextCursor: 6, skippedBytes: 0 });
    expect(buffer.read(6, 100)).toEqual({ text: "world", nextCursor: 11, skippedBytes: 0 });
    expect(buffer.read(11, 100)).toEqual({ text: "", nextCursor: 11, skippedBytes: 0 });
    expect(buffer.totalBytes).toBe(11);
  });

  test("a cursor out of range reads from the nearest end", () => {
    const buffer = filled(KEEP_ALL, "abc");
    expect(buffer.read(99, 10)).toEqual({ text: "", nextCursor: 3, skippedBytes: 0 });
    expect(buffer.read(-5, 10).text).toBe("abc");
  });

  test("a character whose end has not come yet is held back until it has", () => {
    const buffer = new OutputBuffer(KEEP_ALL);
    const euro = Buffer.from("€");
    buffer.append(Buffer.concat([Buffer.from("a"), euro.subarray(0, 2)]));
    expect(buffer.read(0, 100)).toEqual({ text: "a", nextCursor: 1, skippedBytes: 0 });
    buffer.append(euro.subarray(2));
    expect(buffer.read(1, 100)).toEqual({ text: "€", nextCursor: 4, skippedBytes: 0 });
  });

  test("a character that never ends is given out at the end", () => {
    const buffer = new OutputBuffer(KEEP_ALL);
    buffer.append(Uint8Array.of(0x61, 0xe2, 0x82));
    expect(buffer.read(0, 100).nextCursor).toBe(1);
    buffer.end();
    expect(buffer.read(0, 100)).toEqual({ text: "a\ufffd", nextCursor: 3, skippedBytes: 0 });
  });

  test("says how much was not kept", () => {
    const buffer = filled(32, "0123456789abcdef", "x".repeat(100), "fedcba9876543210");
    const first = buffer.read(0, 100);
    expect(first).toEqual({ text: "0123456789abcdef", nextCursor: 16, skippedBytes: 0 });
    expect(buffer.read(first.nextCursor, 100)).toEqual({
      text: "fedcba9876543210",
      nextCursor: 132,
      skippedBytes: 100,
    });
  });

  test("valid text is never broken, whatever the chunks, the bounds and the steps", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "grapheme" }), { maxLength: 20 }),
        fc.array(fc.nat(40), { maxLength: 30 }),
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 1, max: 50 }),
        (texts, cuts, retainBytes, stepBytes) => {
          const text = texts.join("").replaceAll("\ufffd", "?");
          const buffer = new OutputBuffer(retainBytes);
          let rest = Buffer.from(text);
          for (const cut of cuts) {
            buffer.append(rest.subarray(0, cut));
            rest = rest.subarray(cut);
          }
          buffer.append(rest);
          buffer.end();
          const all = readAll(buffer, stepBytes);
          expect(all.text).not.toContain("\ufffd");
          expect(Buffer.byteLength(all.text) + all.skippedBytes).toBe(buffer.totalBytes);
          if (buffer.totalBytes <= retainBytes) expect(all.text).toBe(text);
          const excerpt = buffer.excerpt(stepBytes);
          expect(excerpt.text).not.toContain("\ufffd");
          expect(excerpt.nextCursor).toBe(buffer.totalBytes);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("arbitrary bytes are all accounted for", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
        fc.integer({ min: 16, max: 200 }),
        fc.integer({ min: 1, max: 60 }),
        (chunks, retainBytes, stepBytes) => {
          const buffer = filled(retainBytes, ...chunks);
          const whole = Buffer.concat(chunks);
          let cursor = 0;
          let seen = 0;
          while (true) {
            const piece = buffer.read(cursor, stepBytes);
            if (piece.nextCursor === cursor) break;
            const from = cursor + piece.skippedBytes;
            expect(piece.text).toBe(whole.subarray(from, piece.nextCursor).toString("utf8"));
            seen += piece.nextCursor - cursor;
            cursor = piece.nextCursor;
          }
          expect(seen).toBe(whole.length);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("the excerpt", () => {
  test("is the whole when it fits", () => {
    expect(filled(KEEP_ALL, "short").excerpt(100)).toEqual({ text: "short", cutBytes: 0, cutCursor: 5, nextCursor: 5 });
  });

  test("is the beginning and the end otherwise, and says what is between", () => {
    const excerpt = filled(KEEP_ALL, "a".repeat(50), "b".repeat(50)).excerpt(20);
    expect(excerpt.text).toBe(`${"a".repeat(10)}\n[… 80 bytes cut …]\n${"b".repeat(10)}`);
    expect(excerpt).toMatchObject({ cutBytes: 80, cutCursor: 10, nextCursor: 100 });
  });

  test("its cut can be read on from its cursor", () => {
    const buffer = filled(KEEP_ALL, "0123456789".repeat(10));
    const { cutCursor, cutBytes } = buffer.excerpt(20);
    expect(buffer.read(cutCursor, cutBytes).text).toBe("0123456789".repeat(8));
  });

  test("does not pretend to keep what the buffer dropped", () => {
    const excerpt = filled(32, "h".repeat(100), "t".repeat(16)).excerpt(1_000);
    expect(excerpt.text).toBe(`${"h".repeat(16)}\n[… 84 bytes cut …]\n${"t".repeat(16)}`);
  });
});

describe("memory", () => {
  test("is proportional to what came, and bounded", () => {
    expect(filled(1_048_576, "tiny").occupiedBytes).toBeLessThanOrEqual(4096);
    expect(filled(10_000, "x".repeat(100_000)).occupiedBytes).toBe(10_000);
    expect(filled(10_000, ...Array.from({ length: 50_000 }, () => "y")).occupiedBytes).toBe(10_000);
  });

  test("does not grow with 1 GB of output", () => {
    const buffer = new OutputBuffer(1_048_576);
    const chunk = Buffer.alloc(65_536, "z");
    buffer.append(chunk);
    const before = process.memoryUsage();
    for (let i = 1; i < 16_384; i++) buffer.append(chunk);
    const after = process.memoryUsage();
    expect(buffer.totalBytes).toBe(1_073_741_824);
    expect(buffer.occupiedBytes).toBe(1_048_576);
    expect(after.rss - before.rss).toBeLessThan(16_777_216);
  });
});
