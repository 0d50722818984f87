import { segmentsOf } from "../policy/request-path.ts";
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

/** Whether it has a header with which some servers let a request be another one than its first line says. */
export function overridesItself(headers: RequestHead["headers"]): boolean {
  return headers.some(([name]) => OVERRIDES_METHOD.test(name) || OVERRIDES_PATH.test(name));
}

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
