import ipaddr from "ipaddr.js";
import { readHostPattern } from "./host-pattern.ts";
import type { Secret } from "./secret.ts";

type SecretHost = Secret["hosts"][number];

/** What two lists of hosts, to which a secret is bound, both admit; empty when that is nothing. */
export function commonHosts(one: readonly SecretHost[], other: readonly SecretHost[]): SecretHost[] {
  return widest(
    one.flatMap((a) => other.flatMap((b) => commonHost(a, b))),
    isWithin,
  );
}

/** What two lists of `egress.private` both admit: exact names, and ranges within ranges. */
export function commonPrivate(one: readonly string[], other: readonly string[]): string[] {
  return common(one.map(readPattern), other.map(readPattern), isWithinPattern).map((it) => it.text);
}

/** Those of either list that lie in one of the other. Where two things meet, one lies in the other: there are no others. */
function common<T>(one: readonly T[], other: readonly T[], within: (inner: T, outer: T) => boolean): T[] {
  const both = [
    ...one.filter((it) => other.some((outer) => within(it, outer))),
    ...other.filter((it) => one.some((outer) => within(it, outer))),
  ];
  return widest(both, within);
}

/** Without those that lie in another one, so that there is one way to write the same. */
function widest<T>(items: readonly T[], within: (inner: T, outer: T) => boolean): T[] {
  return items.filter(
    (it, at) => !items.some((other, index) => index !== at && within(it, other) && (index < at || !within(other, it))),
  );
}

function commonHost(a: SecretHost, b: SecretHost): SecretHost[] {
  const host = isWithinName(a.host, b.host) ? a.host : isWithinName(b.host, a.host) ? b.host : undefined;
  if (host === undefined) return [];
  const ports = a.ports.filter((it) => b.ports.includes(it));
  const methods = commonOf(a.methods, b.methods, (one, other) => one.filter((it) => other.includes(it)));
  const paths = commonOf(a.paths, b.paths, (one, other) => common(one, other, isBelowPath));
  if (ports.length === 0 || methods?.length === 0 || paths?.length === 0) return [];
  return [
    {
      host,
      ports: inOrder(ports),
      ...(methods && { methods: inOrder(methods) }),
      ...(paths && { paths: plainest(paths) }),
    },
  ];
}

/** Each once, so that there is one way to write the same. */
function inOrder<T extends string | number>(items: readonly T[]): T[] {
  return [...new Set(items)].toSorted((a, b) => (a < b ? -1 : 1));
}

/** Without those that lie below another; a slash at the end makes no difference. */
function plainest(paths: readonly string[]): string[] {
  return inOrder(widest(paths.map(segmentsOf), isBelow).map((it) => `/${it.join("/")}`));
}

/** What is left out is everything. */
function commonOf<T>(a: T | undefined, b: T | undefined, common: (a: T, b: T) => T): T | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : common(a, b);
}

function isWithin(inner: SecretHost, outer: SecretHost): boolean {
  const { methods, paths } = outer;
  return (
    isWithinName(inner.host, outer.host) &&
    inner.ports.every((it) => outer.ports.includes(it)) &&
    (methods === undefined || inner.methods?.every((it) => methods.includes(it)) === true) &&
    (paths === undefined || inner.paths?.every((it) => paths.some((above) => isBelowPath(it, above))) === true)
  );
}

/** `*.a.example` lies in itself and in `*.example`; `a.example` in itself and in `*.example`. */
function isWithinName(inner: string, outer: string): boolean {
  return inner === outer || (outer.startsWith("*.") && inner.replace(/^\*\./, "").endsWith(outer.slice(1)));
}

function isBelowPath(inner: string, outer: string): boolean {
  return isBelow(segmentsOf(inner), segmentsOf(outer));
}

/** By whole segments, as a secret is bound. */
function isBelow(inner: readonly string[], outer: readonly string[]): boolean {
  return outer.every((it, at) => inner[at] === it);
}

function segmentsOf(path: string): string[] {
  return path.split("/").filter((it) => it !== "");
}

type Pattern = { readonly text: string } & (
  | { readonly host: string }
  | { readonly range: ReturnType<typeof ipaddr.parseCIDR> }
  | { readonly nothing: true }
);

/** What can't be read lies in nothing. */
function readPattern(text: string): Pattern {
  const read = readHostPattern(text);
  if (!("pattern" in read)) return { text, nothing: true };
  const { pattern } = read;
  if (pattern.kind === "exact") return { text, host: pattern.host };
  return pattern.kind === "range" ? { text, range: ipaddr.parseCIDR(pattern.cidr) } : { text, nothing: true };
}

function isWithinPattern(inner: Pattern, outer: Pattern): boolean {
  if ("host" in inner && "host" in outer) return inner.host === outer.host;
  if (!("range" in inner && "range" in outer)) return false;
  const [address, bits] = inner.range;
  return address.kind() === outer.range[0].kind() && bits >= outer.range[1] && address.match(outer.range);
}
