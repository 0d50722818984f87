import type { Secret } from "../policy/secret.ts";

/** What is to be sent: the head of an HTTP request, with its path and query in origin form. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Where it is to be sent: the host whose certificate was verified, not what a header says. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

/** Headers with which some servers let a request be another one than its first line says. */
const OVERRIDES_METHOD = /^x-(?:http-)?method(?:-override)?$/i;
const OVERRIDES_PATH = /^x-(?:original|rewrite)-ur[li]$/i;

/** Whether the secret may go with this request. What a server could read in two ways is not bound. */
export function isBound(secret: Secret, to: Destination, request: RequestHead): boolean {
  if (request.method === "CONNECT" || request.method === "TRACE") return false;
  const has = (pattern: RegExp) => request.headers.some(([name]) => pattern.test(name));
  return secret.hosts.some(({ host, ports, paths, methods }) => {
    if (!matchesHost(host, to.host) || !ports.includes(to.port)) return false;
    if (methods && (!methods.includes(request.method) || has(OVERRIDES_METHOD))) return false;
    return !paths || (!has(OVERRIDES_PATH) && isBelow(paths, request.path));
  });
}

/** `*.example.org` is every name below that domain. */
export function matchesHost(pattern: string, host: string): boolean {
  const wanted = pattern.toLowerCase();
  const actual = host.toLowerCase().replace(/\.$/, "");
  if (!wanted.startsWith("*.")) return actual === wanted;
  return actual.endsWith(wanted.slice(1)) && actual.length > wanted.length - 1;
}

function isBelow(prefixes: readonly string[], path: string): boolean {
  const segments = segmentsOf(path);
  if (!segments) return false;
  return prefixes.some((prefix) =>
    prefix
      .split("/")
      .filter((it) => it !== "")
      .every((segment, at) => segment === segments[at]),
  );
}

/**
 * The decoded segments of a path, or `undefined` where servers disagree about which they are: `.` and `..` however they are
 * encoded, `//`, backslashes, `;` parameters, escapes of escapes, and what is no path at all. An encoded slash stays inside
 * its segment, as long as reading it as a slash climbs nowhere.
 */
export function segmentsOf(path: string): readonly string[] | undefined {
  const bare = path.split("?", 1)[0] ?? "";
  if (!/^\/[\x21-\x7e]*$/.test(bare)) return undefined;
  const decoded = decode(bare);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (decoded === undefined || /[\\;#?\u0000-\u001f\u007f-\u009f]|%[0-9a-f]{2}/i.test(decoded)) return undefined;
  const readings = decoded.slice(1).split("/");
  // The last one is empty when the path ends with a slash.
  if (readings.some((it, at) => /^[. ]+$/.test(it) || (it === "" && at < readings.length - 1))) return undefined;
  return bare
    .slice(1)
    .split("/")
    .map((it) => decode(it) ?? "");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
