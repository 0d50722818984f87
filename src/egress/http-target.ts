import type { IncomingMessage } from "node:http";
import { readHost } from "../policy/host.ts";
import type { Target } from "./gate.ts";

/** Where a request leads, and what it asks for there. */
export interface HttpTarget extends Target {
  /** Path and query as they are sent on. */
  readonly path: string;
}

type Read = HttpTarget | { readonly problem: string };

/**
 * Reads where a request leads. All that says it must agree: the connection, the request's target, and its one Host header (RFC 9112 §3.2).
 * @param destination what the connection leads to; absent for a request to the proxy, which has the whole URL
 */
export function readHttpTarget(request: IncomingMessage, destination: Target | undefined): Read {
  const hosts = request.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === "host");
  if (hosts.length !== 1) return { problem: "the request has not exactly one Host header" };
  const read = destination ? { ...destination, path: request.url ?? "" } : readWhole(request.url ?? "");
  if ("problem" in read) return read;
  if (!read.path.startsWith("/")) return { problem: "the request's target is not a path" };
  const named = readAuthority(request.headers.host ?? "", read.scheme === "https" ? 443 : 80);
  if (named?.host !== read.host || named.port !== read.port) {
    return { problem: `its Host header names another host than the connection to \`${read.host}:${read.port}\`` };
  }
  return read;
}

function readWhole(url: string): Read {
  const [whole, authority = "", path = ""] = /^http:\/\/([^/?#]*)(.*)$/is.exec(url) ?? [];
  if (whole === undefined) return { problem: "this is a proxy: it takes `http://…` and CONNECT" };
  const read = readAuthority(authority, 80);
  if (!read) return { problem: "the request's host can't be read" };
  return { ...read, scheme: "http", path: path.startsWith("/") ? path : `/${path}` };
}

/** `host`, `host:port` or `[address]:port`, and nothing else: no user, no spaces. */
export function readAuthority(text: string, defaultPort: number): Pick<Target, "host" | "port"> | undefined {
  const [whole, host = "", digits] = /^(\[[0-9a-fA-F:.]+\]|[^:@/\s[\]]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const read = whole === undefined ? undefined : readHost(host);
  const port = digits === undefined ? defaultPort : Number(digits);
  return read && port >= 1 && port <= 65_535 ? { host: read.host, port } : undefined;
}
