import ipaddr from "ipaddr.js";
import { z } from "zod";
import { readHost } from "./host.ts";
import type { Fact, PolicyRequest, Principal } from "./request.ts";
import { requestPath } from "./request-path.ts";

/** The one action that is no tool: a connection of a program in the sandbox, or one request on it. */
export const CONNECT = "connect";

/** How a refusal that no forbid is the reason of begins. */
export const NOT_GRANTED = "no policy grants it";

/** A connection as policy sees it. */
export interface Connection {
  /** In its one spelling; see `host.ts`. */
  readonly host: string;
  readonly port: number;
  readonly scheme: "http" | "https";
  /** Of one request, where the proxy reads requests: with `http`, and where TLS ends at the proxy. */
  readonly request?: {
    /** Upper case. */
    readonly method: string;
    /** Without its query, in its one spelling; see `request-path.ts`. Absent when it has more than one. */
    readonly path?: string;
  };
}

export function connectRequest(principal: Principal, { host, port, scheme, request }: Connection): PolicyRequest {
  const context: Record<string, Fact> = { port, scheme };
  if (ipaddr.isValid(host)) context["address"] = host;
  if (request) Object.assign(context, request);
  return { principal, action: CONNECT, resource: { type: "host", host }, context };
}

const argumentsSchema = z.strictObject({
  host: z.string().max(300),
  port: z.int().min(1).max(65_535).optional(),
  scheme: z.enum(["http", "https"]).optional(),
  method: z
    .string()
    .regex(/^[A-Z]{1,20}$/)
    .optional(),
  path: z.string().max(8_192).optional(),
});

/** A would-be connection, for bundles' tests and for whoever asks what would be permitted. */
export function describeConnect(
  args: unknown,
  principal: Principal,
): { readonly request: PolicyRequest } | { readonly problem: string } {
  const parsed = argumentsSchema.safeParse(args ?? {});
  if (!parsed.success) return { problem: z.prettifyError(parsed.error).slice(0, 2_000) };
  const { port = parsed.data.scheme === "http" ? 80 : 443, method, path = "/" } = parsed.data;
  const scheme = parsed.data.scheme ?? (port === 80 ? "http" : "https");
  const host = readHost(parsed.data.host)?.host;
  if (host === undefined) return { problem: "host: is neither a name nor an address" };
  const read = requestPath(path);
  if (read === undefined) return { problem: "path: can be read in more than one way" };
  const request = method === undefined ? {} : { request: { method, path: read } };
  return { request: connectRequest(principal, { host, port, scheme, ...request }) };
}
