import { networkInterfaces } from "node:os";
import ipaddr from "ipaddr.js";
import { canonicalAddress, parseAddress } from "../policy/host.ts";

/**
 * Addresses that no sandbox reaches unless the organisation names them: this computer, its networks, and what clouds tell machines about
 * themselves. They are listed, in place of refusing all that isn't "unicast": documentation ranges are used inside of networks.
 */
const REFUSED: readonly (readonly [cidr: string, what: string])[] = [
  ["0.0.0.0/8", "this network"],
  ["10.0.0.0/8", "a private network"],
  ["100.64.0.0/10", "a carrier's private network"],
  ["127.0.0.0/8", "the gateway's own loopback"],
  ["169.254.0.0/16", "link-local, where clouds have their metadata"],
  ["172.16.0.0/12", "a private network"],
  ["192.0.0.0/24", "reserved, and a cloud's metadata"],
  ["192.168.0.0/16", "a private network"],
  ["198.18.0.0/15", "reserved for tests of networks"],
  ["168.63.129.16/32", "a cloud's metadata"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved, or broadcast"],
  ["::/96", "this computer, or an IPv4 address in an old disguise"],
  ["::ffff:0:0:0/96", "an IPv4 address that the network translates (SIIT)"],
  ["64:ff9b:1::/48", "a private network's translation"],
  ["100::/64", "discarded"],
  ["2001::/32", "a tunnel to an IPv4 address (Teredo)"],
  ["2002::/16", "a tunnel to an IPv4 address (6to4)"],
  ["fc00::/7", "a private network"],
  ["fe80::/10", "link-local"],
  ["fec0::/10", "a private network"],
  ["ff00::/8", "multicast"],
];

/** Translated by the network to the IPv4 address in its last four bytes (RFC 6052). */
const TRANSLATED = ipaddr.parseCIDR("64:ff9b::/96");

/** Why an address is below the floor; `undefined` when it is not. Takes every spelling of an address. */
export function refusedAddress(text: string): string | undefined {
  const address = parseAddress(text);
  const found = REFUSED.find(([cidr]) => isWithin(address, cidr));
  if (found) return found[1];
  if (address instanceof ipaddr.IPv6 && address.match(TRANSLATED)) {
    return refusedAddress(address.toByteArray().slice(12).join("."));
  }
  const canonical = canonicalAddress(text);
  return ownAddresses().includes(canonical) ? "this computer's own" : undefined;
}

export function isWithin(address: string | ipaddr.IPv4 | ipaddr.IPv6, cidr: string): boolean {
  const parsed = typeof address === "string" ? parseAddress(address) : address;
  const [network, bits] = ipaddr.parseCIDR(cidr);
  if (parsed instanceof ipaddr.IPv4 && network instanceof ipaddr.IPv4) return parsed.match(network, bits);
  if (parsed instanceof ipaddr.IPv6 && network instanceof ipaddr.IPv6) return parsed.match(network, bits);
  return false;
}

/** Asked each time: networks come and go. */
function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((it) => it ?? []);
  return all.map(({ address }) => canonicalAddress(address.split("%")[0] ?? address));
}
