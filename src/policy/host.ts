import { isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import ipaddr from "ipaddr.js";

const MAX_NAME_CHARS = 253;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** Where a connection leads, in the one spelling that policy and the dialler know. */
export type Host =
  | { readonly kind: "name"; readonly host: string }
  /** Four decimal numbers, or IPv6 as RFC 5952 writes it. An IPv4 address in IPv6's clothes is that IPv4 address. */
  | { readonly kind: "address"; readonly host: string };

/**
 * Reads a host as it stands in a URL: names in lower case and punycode, without the root's dot; addresses in whatever spelling the URL
 * standard knows (`0x7f.1`, `2130706433`, `[::ffff:127.0.0.1]`). `undefined` when it is neither.
 */
export function readHost(text: string): Host | undefined {
  if (text.includes(":")) {
    const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
    // Node is the stricter one: ipaddr.js reads octal and hexadecimal numbers in an IPv6 address, and an address's zone.
    if (!isIPv6(bare) || bare.includes("%")) return undefined;
    return { kind: "address", host: canonicalAddress(bare) };
  }
  // The URL standard's parser of hosts; it answers "" to what it refuses.
  const ascii = /^[\p{L}\p{N}\p{M}._-]+$/u.test(text) ? domainToASCII(text) : "";
  const name = ascii.endsWith(".") ? ascii.slice(0, -1) : ascii;
  // To refuse a name takes ipaddr.js long: it throws.
  if (/^[\d.]+$/.test(name) && ipaddr.IPv4.isValidFourPartDecimal(name)) return { kind: "address", host: name };
  const fits = name.length <= MAX_NAME_CHARS && name.split(".").every((label) => LABEL.test(label));
  // A last label of digits alone is how an address begins to be misspelt.
  return fits && !/(^|\.)(\d+|0x[0-9a-f]*)$/.test(name) ? { kind: "name", host: name } : undefined;
}

/** An address in any spelling, IPv4 in IPv6's clothes (`::ffff:192.0.2.7`) as the IPv4 address. @throws Error when it is none */
export function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  // ipaddr.js would take `::192.0.2.7` for the same, which is another address.
  return ipaddr.process(text.replace(/^::(?=\d+\.)/, "0::"));
}

/** @throws Error when it is none */
export function canonicalAddress(text: string): string {
  const address = parseAddress(text);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** The domains that a name lies in, nearest first; none for an address. */
export function hostAncestors(host: string): string[] {
  // Other characters are in no spelling of an IPv4 address.
  if ((host.includes(":") || /^[\da-fx.]+$/i.test(host)) && ipaddr.isValid(host)) return [];
  const labels = host.split(".");
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join("."));
}
