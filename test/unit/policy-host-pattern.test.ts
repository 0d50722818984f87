import fc from "fast-check";
import { expect, test } from "vitest";
import { isWithin } from "../../src/egress/floor.ts";
import { readHost } from "../../src/policy/host.ts";
import { isPublicSuffix, readHostPattern } from "../../src/policy/host-pattern.ts";

test.each([
  ["example.org", { kind: "exact", host: "example.org" }],
  ["*.example.org", { kind: "below", domain: "example.org" }],
  ["*.a.b.example.co.uk", { kind: "below", domain: "a.b.example.co.uk" }],
  ["someone.github.io", { kind: "exact", host: "someone.github.io" }],
  ["*.someone.github.io", { kind: "below", domain: "someone.github.io" }],
  // A computer of the own network is one host; all of a made-up domain's are not.
  ["intranet", { kind: "exact", host: "intranet" }],
  ["localhost", { kind: "exact", host: "localhost" }],
  ["*.office.lan", { kind: "below", domain: "office.lan" }],
  ["192.0.2.7", { kind: "range", cidr: "192.0.2.7/32" }],
  ["2001:db8::1", { kind: "range", cidr: "2001:db8::1/128" }],
  ["192.0.2.0/24", { kind: "range", cidr: "192.0.2.0/24" }],
  ["10.0.0.0/8", { kind: "range", cidr: "10.0.0.0/8" }],
  ["2001:db8::/32", { kind: "range", cidr: "2001:db8::/32" }],
])("%s is a pattern", (text, pattern) => {
  expect(readHostPattern(text)).toEqual({ pattern });
});

const EVERY = "would be every host: name the hosts, or `*.` and a domain";
const NO_HOST = "is no host: write `example.org`, `*.example.org`, an address or a CIDR range";
const NO_RANGE = "is no CIDR range: write `192.0.2.0/24`";
const TOO_LARGE = "is too large a range: /8 and IPv6 /32 at most";
const suffix = (host: string) =>
  `would be hosts of many owners: \`${host}\` is a public suffix; name a domain below it`;

test.each<readonly [text: string, problem: string]>([
  ...["*", "*.", ".", ""].map((it) => [it, EVERY] as const),
  ...[
    "*.*",
    "**.example.org",
    "*example.org",
    "a.*.org",
    "*.a*.org",
    "*..org",
    "a b",
    "http:",
    "user@example.org",
    "example.org:443",
    "*.%2a.org",
    ".".repeat(3),
  ].map((it) => [it, NO_HOST] as const),
  ...["com", "co.uk", "github.io", "foo.ck", "s3.amazonaws.com"].map((it) => [it, suffix(it)] as const),
  ...[
    "com",
    "co.uk",
    "github.io",
    "foo.ck",
    "s3.amazonaws.com",
    "kawasaki.jp",
    "xn--p1ai",
    "localhost",
    "intranet",
    "lan",
    "internal",
    "corp",
  ].map((it) => [`*.${it}`, suffix(it)] as const),
  ["EXAMPLE.org", "is spelt `example.org`"],
  ["*.EXAMPLE.org", "is spelt `*.example.org`"],
  ["example.org.", "is spelt `example.org`"],
  ["bücher.example", "is spelt `xn--bcher-kva.example`"],
  ["127.1", "is spelt `127.0.0.1`"],
  ["[2001:db8::1]", "is spelt `2001:db8::1`"],
  ["::ffff:192.0.2.7", "is spelt `192.0.2.7`"],
  ["*.192.0.2.7", "is no host: nothing lies below an address"],
  ...[
    "10.0.0.0/33",
    "10.0.0.0/",
    "/8",
    "10.0.0.0/-1",
    "10.0.0.0/8 ",
    "10.0.0.0/8/8",
    "2001:db8::/129",
    "fe80::%1/64",
    "a/8",
    "https://example.org",
    "example.org/path",
  ].map((it) => [it, NO_RANGE] as const),
  ...["0.0.0.0/0", "8.0.0.0/7", "::/0", "2001:db8::/31", "fc00::/7"].map((it) => [it, TOO_LARGE] as const),
  ["10.0.0.1/8", "is spelt `10.0.0.0/8`"],
  ["10.0.0.0/08", "is spelt `10.0.0.0/8`"],
  ["010.0.0.0/8", "is spelt `8.0.0.0/8`"],
  ["0x0a.0.0.0/8", "is spelt `10.0.0.0/8`"],
  ["2001:DB8::/32", "is spelt `2001:db8::/32`"],
  ["[2001:db8::]/32", "is spelt `2001:db8::/32`"],
  ...["::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:192.0.2.7/128"].map((it) => [it, NO_RANGE] as const),
])("%s is refused: %s", (text, problem) => {
  expect(readHostPattern(text)).toEqual({ problem });
});

const label = fc
  .string({ unit: fc.constantFrom(..."abz09"), minLength: 1, maxLength: 5 })
  .filter((it) => !/^\d/.test(it));
const suffixes = fc.constantFrom("com", "co.uk", "github.io", "org", "kawasaki.jp", "ck", "blogspot.com", "pages.dev");

test("whatever is taken as all below a domain lies below somebody's own, and the domain is in its one spelling", () => {
  const texts = fc.oneof(
    fc.tuple(fc.array(label, { maxLength: 3 }), suffixes).map(([labels, end]) => `*.${[...labels, end].join(".")}`),
    fc.domain().map((it) => `*.${it}`),
    fc.string({ unit: fc.constantFrom(..."*.ab/:1%-"), maxLength: 10 }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const read = readHostPattern(text);
      if (!("pattern" in read)) return;
      const { pattern } = read;
      if (pattern.kind === "range") return;
      const host = pattern.kind === "below" ? pattern.domain : pattern.host;
      expect(readHost(host)).toEqual({ kind: "name", host });
      expect(text).toBe(pattern.kind === "below" ? `*.${host}` : host);
      if (pattern.kind === "below") expect(isPublicSuffix(host)).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});

test("a range that is taken holds its own first address, as it is written", () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }));
  fc.assert(
    fc.property(fc.oneof(v4, v6), ([address, bits]) => {
      const first = readHostPattern(`${address}/${bits}`);
      // What is spelt in another way says in which, and that one is taken or is too large.
      const [, proposed] = "problem" in first ? (/`(.*)`$/.exec(first.problem) ?? []) : [];
      const text = proposed ?? `${address}/${bits}`;
      const read = proposed ? readHostPattern(proposed) : first;
      if (!("pattern" in read)) {
        expect(read.problem).toBeOneOf([TOO_LARGE, NO_RANGE]);
        return;
      }
      expect(read.pattern).toEqual({ kind: "range", cidr: text });
      expect(isWithin(text.split("/")[0] ?? "", text)).toBe(true);
      expect(bits).toBeGreaterThanOrEqual(text.includes(":") ? 32 : 8);
    }),
    { numRuns: 2_000 },
  );
});
