import { networkInterfaces } from "node:os";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isWithin, refusedAddress } from "../../src/egress/floor.ts";
import { canonicalAddress, readHost } from "../../src/policy/host.ts";

test.each([
  ["this network", ["0.0.0.0", "0.1.2.3", "0"]],
  [
    "a private network",
    [
      "10.0.0.0",
      "10.255.255.255",
      "172.16.0.0",
      "172.31.255.255",
      "192.168.0.1",
      "fc00::",
      "fdff::1",
      "fd00:ec2::254",
      "fec0::1",
    ],
  ],
  ["a carrier's private network", ["100.64.0.0", "100.100.100.200", "100.127.255.255"]],
  [
    "the gateway's own loopback",
    ["127.0.0.1", "127.255.255.255", "0x7f.1", "2130706433", "::ffff:127.0.0.1", "::ffff:7f00:1"],
  ],
  ["link-local, where clouds have their metadata", ["169.254.169.254", "169.254.0.0", "::ffff:a9fe:a9fe"]],
  ["reserved, and a cloud's metadata", ["192.0.0.192"]],
  ["reserved for tests of networks", ["198.18.0.0", "198.19.255.255"]],
  ["a cloud's metadata", ["168.63.129.16", "::ffff:168.63.129.16"]],
  ["multicast", ["224.0.0.1", "239.255.255.255", "ff00::", "ff02::1"]],
  ["reserved, or broadcast", ["240.0.0.0", "255.255.255.255"]],
  ["this computer, or an IPv4 address in an old disguise", ["::", "::1", "::127.0.0.1", "::7f00:1", "::8.8.8.8"]],
  ["an IPv4 address that the network translates (SIIT)", ["::ffff:0:127.0.0.1", "::ffff:0:808:808"]],
  ["a private network's translation", ["64:ff9b:1::", "64:ff9b:1:ffff::10.0.0.1"]],
  ["discarded", ["100::", "100::ffff:ffff:ffff:ffff"]],
  ["a tunnel to an IPv4 address (Teredo)", ["2001::", "2001:0:ffff:ffff::1"]],
  ["a tunnel to an IPv4 address (6to4)", ["2002:7f00:1::", "2002:ffff::"]],
  ["link-local", ["fe80::1", "febf::1"]],
])("%s is below the floor", (reason, addresses) => {
  for (const it of addresses) expect([it, refusedAddress(it)]).toEqual([it, reason]);
});

test("an address that the network translates (NAT64) is below the floor when the IPv4 address in it is", () => {
  expect(refusedAddress("64:ff9b::127.0.0.1")).toBe("the gateway's own loopback");
  expect(refusedAddress("64:ff9b::a9fe:a9fe")).toBe("link-local, where clouds have their metadata");
  expect(refusedAddress("64:ff9b::8.8.8.8")).toBeUndefined();
});

test("addresses beside those ranges, and documentation's, are not below it", () => {
  const beside =
    "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.2.7 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 168.63.129.15 168.63.129.17 223.255.255.255";
  const six =
    "2606:4700:4700::1111 2001:1:: 2001:4860:4860::8888 2001:db8::1 2001:ffff:: 2003:: fbff:: fe00:: 100:0:0:1:: 64:ff9a:: 64:ff9b:2:: 0:0:0:0:1::";
  for (const it of [...beside.split(" "), ...six.split(" ")]) expect([it, refusedAddress(it)]).toEqual([it, undefined]);
});

test("what is no address is never let through", () => {
  for (const it of ["", "example.org", "1.2.3.4.5", "[::1]", "127.0.0.1 ", "::1::"])
    expect(() => refusedAddress(it)).toThrow();
});

test("this computer's own addresses are below the floor, in every spelling", () => {
  const own = Object.values(networkInterfaces()).flatMap((it) => it ?? []);
  expect(own.length).toBeGreaterThan(0);
  for (const { address, family } of own) {
    const spellings =
      family === "IPv4" ? [address, `::ffff:${address}`, `64:ff9b::${address}`] : [address, address.toUpperCase()];
    for (const it of spellings) expect([it, typeof refusedAddress(it)]).toEqual([it, "string"]);
  }
});

/** Written out again, as first bytes and how many bits of them count. */
const RANGES: readonly (readonly [first: number[], bits: number])[] = [
  [[0], 8],
  [[10], 8],
  [[100, 64], 10],
  [[127], 8],
  [[169, 254], 16],
  [[172, 16], 12],
  [[192, 0, 0], 24],
  [[192, 168], 16],
  [[198, 18], 15],
  [[168, 63, 129, 16], 32],
  [[224], 4],
  [[240], 4],
];

const inRange = fc
  .tuple(fc.constantFrom(...RANGES), fc.uint8Array({ minLength: 4, maxLength: 4 }))
  .map(([[first, bits], random]) =>
    [...random].map((byte, at) => {
      const kept = Math.min(8, Math.max(0, bits - at * 8));
      const mask = (0xff << (8 - kept)) & 0xff;
      return ((first[at] ?? 0) & mask) | (byte & ~mask & 0xff);
    }),
  );
const numbers = fc.constantFrom(
  (it: number) => `${it}`,
  (it: number) => `0x${it.toString(16)}`,
  (it: number) => `0${it.toString(8)}`,
);
const asNumber = (bytes: readonly number[]) => bytes.reduce((sum, it) => sum * 256 + it, 0);
const asGroups = (bytes: readonly number[]) =>
  `${asNumber(bytes.slice(0, 2)).toString(16)}:${asNumber(bytes.slice(2)).toString(16)}`;

test("no address of a range that is refused passes, in any spelling", () => {
  fc.assert(
    fc.property(inRange, fc.array(numbers, { minLength: 4, maxLength: 4 }), (bytes, [a, b, c, d]) => {
      const dotted = bytes.join(".");
      const mixed = bytes.map((it, at) => [a, b, c, d][at]?.(it)).join(".");
      const groups = asGroups(bytes);
      const spellings = [
        dotted,
        mixed,
        `${asNumber(bytes)}`,
        `0x${asNumber(bytes).toString(16)}`,
        `${bytes[0]}.${asNumber(bytes.slice(1))}`,
        `${bytes[0]}.${bytes[1]}.${asNumber(bytes.slice(2))}`,
        `::ffff:${dotted}`,
        `::FFFF:${groups}`,
        `0:0:0:0:0:ffff:${groups}`,
        `64:ff9b::${dotted}`,
        `0064:ff9b:0::${groups}`,
        `::${dotted}`,
        `::${groups}`,
        `::ffff:0:${groups}`,
        `2002:${groups}::1`,
      ];
      for (const it of spellings) {
        const host = readHost(it)?.host;
        // As a program writes it, and as the dialler gets it.
        expect([it, typeof refusedAddress(it)]).toEqual([it, "string"]);
        expect([it, host !== undefined && typeof refusedAddress(host)]).toEqual([it, "string"]);
      }
    }),
    { numRuns: 300 },
  );
});

test("an address is judged by what it is, not by how it is written", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6()), (address) => {
      expect(refusedAddress(address)).toBe(refusedAddress(canonicalAddress(address)));
    }),
    { numRuns: 1_000 },
  );
});

test("a range holds no address of the other family, but IPv4 in IPv6's clothes is IPv4", () => {
  expect(isWithin("::ffff:10.1.2.3", "10.0.0.0/8")).toBe(true);
  expect(isWithin("10.1.2.3", "::/0")).toBe(false);
  expect(isWithin("2001:db8::1", "0.0.0.0/0")).toBe(false);
  expect(isWithin("2001:db8::1", "2001:db8::/32")).toBe(true);
});
