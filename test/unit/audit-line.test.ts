import canonicalize from "canonicalize";
import fc from "fast-check";
import { expect, test } from "vitest";
import { bodyText } from "../../src/audit/body.ts";
import { GENESIS_HASH, MAX_BODY_BYTES, readLine, sealLine } from "../../src/audit/line.ts";
import type { Json } from "../../src/audit/record.ts";
import { redact } from "../../src/audit/redact.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

const envelope = { chain: "chain-x", gateway: "gw-x", time: "2026-01-02T03:04:05.678Z" };

test("a sealed line is RFC 8785 and reads as the record that was sealed", () => {
  fc.assert(
    fc.property(fc.anything(), fc.nat(), (value, seq) => {
      const body = bodyText(event((value ?? null) as Json));
      const { line, position } = sealLine(envelope, { seq, hash: GENESIS_HASH }, body);
      const read = readLine(Buffer.from(line.slice(0, -1)));
      if (!read.sound) throw new Error(read.message);
      expect(canonicalize(read.record)).toBe(line.slice(0, -1));
      expect(read.record.body).toEqual(JSON.parse(body));
      expect(position).toEqual({ seq: seq + 1, hash: read.record.hash });
    }),
  );
});

test.each([
  [
    "not UTF-8 where the record has U+FFFD",
    (line: Buffer) => Buffer.from(line.toString("latin1").replace("ï¿½", "\xff\xff\xff"), "latin1"),
  ],
  ["a byte order mark", (line: Buffer) => Buffer.concat([Buffer.from("\ufeff"), line])],
  ["a space", (line: Buffer) => Buffer.from(line.toString().replace('"seq":', '"seq": '))],
  [
    "another order of keys",
    (line: Buffer) => Buffer.from(line.toString().replace(/^\{(.*),("version":1)\}$/, "{$2,$1}")),
  ],
  ["an unknown key", (line: Buffer) => Buffer.from(line.toString().replace(',"prev"', ',"port":1,"prev"'))],
  ["a doubled key", (line: Buffer) => Buffer.from(line.toString().replace(',"seq":', ',"seq":1,"seq":'))],
  ["another number of the same value", (line: Buffer) => Buffer.from(line.toString().replace('"seq":1', '"seq":1.0'))],
  ["an escape for a character", (line: Buffer) => Buffer.from(line.toString().replace("ses-1", "\\u0073es-1"))],
])("a line with %s is not sound", (_what, change) => {
  const { line } = sealLine(envelope, { seq: 0, hash: GENESIS_HASH }, bodyText(event({ text: "\ufffd" })));
  const bytes = Buffer.from(line.slice(0, -1));
  expect(readLine(bytes).sound).toBe(true);
  const changed = change(bytes);
  expect(changed.equals(bytes)).toBe(false);
  expect(readLine(changed).sound).toBe(false);
});

test("a body is kept as it is but for secrets", () => {
  for (const body of [intent("call-1"), outcome("call-1"), event({ a: [1, null, "x"] })]) {
    expect(JSON.parse(bodyText(body))).toEqual(body);
  }
  expect(bodyText(intent("call-1", { password: "hunter2" }))).not.toContain("hunter2");
});

test("arguments and facts that are too large are kept as size and digest", () => {
  const large = Array.from({ length: 40_000 }, (_, at) => `item ${at}`);
  for (const text of [bodyText(intent("call-1", large)), bodyText(outcome("call-1", large))]) {
    expect(Buffer.byteLength(text)).toBeLessThan(1_000);
    expect(text).toContain(`{"bytes":${Buffer.byteLength(canonicalize(redact(large)) ?? "")},"sha256":"`);
  }
  const problems = Array.from({ length: 40 }, () => "x".repeat(10_000));
  expect(Buffer.byteLength(problems.join(""))).toBeGreaterThan(MAX_BODY_BYTES);
  expect(() => bodyText({ ...intent("call-1"), problems })).toThrow(expect.objectContaining({ code: "INTERNAL" }));
});

test("what would not verify is not written", () => {
  const extra = { ...outcome("call-1"), extra: 1 };
  expect(() => bodyText(extra)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
});
