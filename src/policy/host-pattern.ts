import ipaddr from "ipaddr.js";
import { parse } from "tldts";
import { readHost } from "./host.ts";

/** Hosts that a line of policy means. */
export type HostPattern =
  | { readonly kind: "exact"; readonly host: string }
  /** Everything below the domain, at any depth, and not the domain itself. */
  | { readonly kind: "below"; readonly domain: string }
  /** Addresses that a program gives in place of a name: CIDR, one address being /32 or /128. */
  | { readonly kind: "range"; readonly cidr: string };

type Read = { readonly pattern: HostPattern } | { readonly problem: string };

/** Reads `example.org`, `*.example.org`, `192.0.2.7` or `192.0.2.0/24`. What would grant more than somebody's own hosts is a problem. */
export function readHostPattern(text: string): Read {
  if (text.includes("/")) return readRange(text);
  const below = text.startsWith("*.");
  const found = readHost(below ? text.slice(2) : text);
  if (/^\*?\.?$/.test(text)) return { problem: "would be every host: name the hosts, or `*.` and a domain" };
  if (!found || text.slice(below ? 2 : 0).includes("*")) {
    return { problem: "is no host: write `example.org`, `*.example.org`, an address or a CIDR range" };
  }
  const { host, kind } = found;
  if (host !== text.slice(below ? 2 : 0)) return { problem: `is spelt \`${below ? "*." : ""}${host}\`` };
  if (kind === "address") {
    if (below) return { problem: "is no host: nothing lies below an address" };
    return { pattern: { kind: "range", cidr: `${host}/${host.includes(":") ? 128 : 32}` } };
  }
  if (below ? isPublicSuffix(host) : isListedSuffix(host)) {
    return { problem: `would be hosts of many owners: \`${host}\` is a public suffix; name a domain below it` };
  }
  return { pattern: below ? { kind: "below", domain: host } : { kind: "exact", host } };
}

function readRange(text: string): Read {
  const [, network = "", digits = ""] = /^(.+)\/(\d{1,3})$/.exec(text) ?? [];
  const { kind, host = "" } = readHost(network) ?? {};
  const isIPv4 = !host.includes(":");
  const bits = Number(digits);
  // A range of IPv4 addresses in IPv6's clothes would hold none: they are known without.
  const isDressed = isIPv4 && network.includes(":");
  if (kind !== "address" || isDressed || bits > (isIPv4 ? 32 : 128)) {
    return { problem: "is no CIDR range: write `192.0.2.0/24`" };
  }
  const first = (isIPv4 ? ipaddr.IPv4 : ipaddr.IPv6).networkAddressFromCIDR(`${host}/${bits}`).toString();
  // Other spellings have other readers: `010.0.0.0/8` is 8.0.0.0/8 to some.
  if (text !== `${first}/${bits}`) return { problem: `is spelt \`${first}/${bits}\`` };
  if (bits < (isIPv4 ? 8 : 32)) return { problem: "is too large a range: /8 and IPv6 /32 at most" };
  return { pattern: { kind: "range", cidr: text } };
}

/** A domain below which anybody may have hosts, by the Public Suffix List; a name of one label counts as one. */
export function isPublicSuffix(domain: string): boolean {
  return parse(domain, { allowPrivateDomains: true }).publicSuffix === domain;
}

function isListedSuffix(host: string): boolean {
  const { isIcann, isPrivate } = parse(host, { allowPrivateDomains: true });
  return isPublicSuffix(host) && (isIcann === true || isPrivate === true);
}
