import { isIPv6 } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalAddress, hostAncestors, readHost } from "../../src/policy/host.ts";

describe("the one spelling of", () => {
  test.each([
    [
      "127.0.0.1",
      ["0x7f.1", "0X7F.0.0.1", "2130706433", "0177.0.0.1", "017700000001", "0x7f000001", "127.1", "127.0.1"],
    ],
    [
      "127.0.0.1",
      ["127.0.0.1.", "１２７.0.0.1", "①②⑦.0.0.1", "[::ffff:127.0.0.1]", "::ffff:7f00:1", "::FFFF:127.0.0.1"],
    ],
    ["0.0.0.0", ["0", "0x0", "0.0", "00000"]],
    ["1.2.0.3", ["1.2.3", "1.0x20003", "1.2.0.03"]],
    ["::1", ["[::1]", "0:0:0:0:0:0:0:1", "[0000::0001]", "::0.0.0.1"]],
    ["::7f00:1", ["::127.0.0.1", "0::127.0.0.1", "[::127.0.0.1]"]],
    ["2001:db8::1:0:0:1", ["2001:DB8:0:0:1::1", "2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0.0.0.1"]],
    ["64:ff9b::7f00:1", ["64:ff9b::127.0.0.1"]],
    ["example.org", ["EXAMPLE.org", "example.org.", "Example.Org.", "ｅｘａｍｐｌｅ.org"]],
    ["k.com", ["K.com", "\u212a.com"]],
    ["xn--bcher-kva.example", ["bücher.example", "BÜCHER.example", "bu\u0308cher.example", "XN--bcher-kva.example"]],
    ["xn--80ak6aa92e.com", ["аррӏе.com"]],
    ["a_b.example", ["A_B.example"]],
    ["localhost", ["LOCALHOST", "localhost."]],
  ])("%s", (host, spellings) => {
    for (const it of [host, ...spellings]) expect([it, readHost(it)?.host]).toEqual([it, host]);
  });
});

test.each([
  ["nothing", ["", ".", "[]", "[", "::1]", "[::1", "[[::1]]"]],
  ["a zone", ["fe80::1%eth0", "[fe80::1%25eth0]", "::1%25lo"]],
  [
    "an address that is spelt wrong",
    ["256.1.1.1", "1.2.3.4.5", "1.2.3.08", "4294967296", "1::2::3", "a.1", "a.0x7f", "0x1.a.0x"],
  ],
  [
    "IPv4 in IPv6 that isn't four decimal numbers",
    ["::ffff:0177.0.0.1", "::ffff:0x7f.0.0.1", "::ffff:127.1", "::ffff:1.2.3.4."],
  ],
  ["brackets around what is no IPv6 address", ["[127.0.0.1]", "[example.org]", "[2130706433]"]],
  ["empty labels", ["a..b", ".a", "a..", "*"]],
  ["labels that begin or end with a dash", ["-a.example", "a-.example"]],
  ["a label, or a name, that is too long", [`${"a".repeat(64)}.com`, `${"a.".repeat(127)}com`]],
  [
    "what isn't part of a name",
    ["a b", " a", "a/b", "a:80", "a@b", "a%2eb", "a\\b", "a#b", "a?b", "*.example.org", "a\0b", "a\nb"],
  ],
  [
    "characters that can't be seen",
    ["ex\u00adample.org", "ex\u200bample.org", "ex\u202eample.org", "\ufeffexample.org"],
  ],
  ["other characters for a dot", ["example。org", "example．org", "example｡org"]],
])("%s is no host", (_, texts) => {
  for (const it of texts) expect([it, readHost(it)]).toEqual([it, undefined]);
});

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count }).map((it) => [...it]);
const near0 = (count: number) => fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: count, maxLength: count });

/** One number a part, in any of the three bases; the last part takes the bytes that are left. */
const ipv4Spellings = fc
  .tuple(
    fc.oneof(bytes(4), near0(4)),
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.constantFrom(8, 10, 16), { minLength: 4, maxLength: 4 }),
  )
  .map(([parts, count, bases]) => {
    const last = parts.slice(count - 1).reduce((sum, it) => sum * 256 + it, 0);
    const written = [...parts.slice(0, count - 1), last].map((it, at) => {
      const base = bases[at] ?? 10;
      return (base === 8 ? "0" : base === 16 ? "0x" : "") + it.toString(base);
    });
    return { host: parts.join("."), spelling: written.join(".") };
  });

const hexPairs = (parts: readonly number[]) =>
  Array.from({ length: 8 }, (_, at) => (parts[at * 2] ?? 0) * 256 + (parts[at * 2 + 1] ?? 0));

/** Upper case or not, leading zeros or not, one run of zeros left out or none, the end in decimal or not. */
const ipv6Spellings = fc
  .tuple(fc.oneof(bytes(16), near0(16)), fc.boolean(), fc.boolean(), fc.boolean(), fc.nat(7), fc.boolean())
  .map(([parts, upper, padded, decimal, cut, brackets]) => {
    const groups = hexPairs(parts);
    const write = (it: number) => (padded ? it.toString(16).padStart(4, "0") : it.toString(16));
    const ending = decimal ? [parts.slice(12).join(".")] : groups.slice(6).map(write);
    const front = groups.slice(0, 6).map(write);
    const run = groups.slice(cut, 6).findIndex((it) => it !== 0);
    const upTo = run === -1 ? 6 : cut + run;
    const text =
      upTo > cut
        ? `${front.slice(0, cut).join(":")}::${[...front.slice(upTo), ...ending].join(":")}`
        : [...front, ...ending].join(":");
    const cased = upper ? text.toUpperCase() : text;
    return { groups, spelling: brackets ? `[${cased}]` : cased };
  });

test("an IPv4 address has one spelling, however its numbers are written", () => {
  fc.assert(
    fc.property(ipv4Spellings, ({ host, spelling }) => {
      expect(readHost(spelling)).toEqual({ kind: "address", host });
    }),
    { numRuns: 1_000 },
  );
});

test("an IPv6 address has one spelling: the one of the URL standard, and IPv4 without its clothes", () => {
  fc.assert(
    fc.property(ipv6Spellings, ({ groups, spelling }) => {
      const plain = groups.map((it) => it.toString(16)).join(":");
      const isMapped = groups.slice(0, 5).every((it) => it === 0) && groups[5] === 0xffff;
      const ipv4 = groups
        .slice(6)
        .flatMap((it) => [it >> 8, it & 255])
        .join(".");
      const host = isMapped ? ipv4 : new URL(`http://[${plain}]/`).hostname.slice(1, -1);
      expect(readHost(spelling)).toEqual({ kind: "address", host });
      expect(canonicalAddress(plain)).toBe(host);
    }),
    { numRuns: 2_000 },
  );
});

const anything = fc.oneof(
  ipv4Spellings.map((it) => it.spelling),
  ipv6Spellings.map((it) => it.spelling),
  fc.domain(),
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom(..."a0x1.:-_[]%fF９ßİ.．é\u0301*@ "), maxLength: 12 }),
);

test("what was read is read again as the same", () => {
  fc.assert(
    fc.property(anything, (text) => {
      const read = readHost(text);
      if (read) expect(readHost(read.host)).toEqual(read);
    }),
    { numRuns: 5_000 },
  );
});

test("what is read, a URL's parser reads in the same way", () => {
  fc.assert(
    fc.property(anything, (text) => {
      const read = readHost(text);
      if (!read) return;
      const inUrl = text.includes(":") && !text.startsWith("[") ? `[${text}]` : text;
      const { hostname } = new URL(`http://${inUrl}/`);
      expect(readHost(hostname)).toEqual(read);
      // And the dialler gets what no resolver reads as something else.
      expect(read.host).toMatch(read.kind === "name" ? /^[a-z0-9_.-]+$/ : /^[0-9a-f.:]+$/);
      if (read.host.includes(":")) expect(isIPv6(read.host)).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});

test("a name lies in each of its domains, nearest first; an address in none", () => {
  expect(hostAncestors("a.b.example.org")).toEqual(["b.example.org", "example.org", "org"]);
  for (const it of ["org", "192.0.2.7", "::1", "2001:db8::1"]) expect(hostAncestors(it)).toEqual([]);
});
