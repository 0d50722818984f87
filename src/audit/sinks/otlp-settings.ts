import { isIP } from "node:net";
import { isAbsolute } from "node:path";
import { z } from "zod";
import { mayCarrySecret, secretSource } from "../../policy/secret.ts";
import { sinkName } from "./name.ts";

/** What a request says of itself; no secret takes its place. */
const OWN_HEADERS = /^(?:content-type|user-agent|content-encoding|accept|accept-encoding)$/i;
/** What says whose record it is, or is Glovebox's own. */
const OWN_ATTRIBUTES = /^(?:service\.instance\.id$|glovebox(?:\.|$)|telemetry\.)/;

const url = z
  .string()
  .max(2_048)
  .superRefine((text, context) => {
    const problem = problemOf(URL.parse(text));
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  });

/** Where records go as OpenTelemetry's logs and traces, by OTLP over HTTP; docs/logging-otlp.md describes it for people. */
export const otlpSchema = z.strictObject({
  name: sinkName,
  type: z.literal("otlp"),
  /** The base: `/v1/logs` and `/v1/traces` are added. */
  url,
  /** By name, where the value of each is. */
  headers: z
    .record(
      z
        .string()
        .refine(
          (it) => mayCarrySecret(it) && !OWN_HEADERS.test(it),
          "must be the name of a header that says nothing of the request itself",
        ),
      secretSource,
    )
    .refine((it) => Object.keys(it).length <= 16, "at most 16 headers")
    .refine(
      (it) => new Set(Object.keys(it).map((name) => name.toLowerCase())).size === Object.keys(it).length,
      "has a header twice",
    )
    .default({}),
  /** A PEM file of authorities to trust besides the gateway's. */
  ca: z
    .string()
    .max(4_096)
    .refine((it) => (isAbsolute(it) || it.startsWith("~/")) && !it.includes("\0"), "must be absolute or begin with ~/")
    .exactOptional(),
  /** Receivers have to take it (OTLP 1.x, "OTLP/HTTP"). */
  gzip: z.boolean().default(true),
  /** Whether each call is sent as a span, too. */
  traces: z.boolean().default(true),
  /** Of the resource, besides `service.name` and `host.name` (which may be given here) and `service.instance.id`. */
  attributes: z
    .record(
      z
        .string()
        .regex(/^[a-z][a-z0-9_.-]{0,127}$/, "must be small letters, digits, dots, hyphens and underscores")
        .refine((it) => !OWN_ATTRIBUTES.test(it), "is Glovebox's own"),
      z.string().min(1).max(1_024),
    )
    .refine((it) => Object.keys(it).length <= 32, "at most 32 attributes")
    .default({}),
});

export type OtlpSettings = z.infer<typeof otlpSchema>;

function problemOf(address: URL | null): string | undefined {
  if (!address) return "must be an https address, e.g. https://otel.example.com:4318";
  const { protocol, username, password, search, hash, pathname } = address;
  if (protocol !== "https:" && !(protocol === "http:" && isLoopback(hostOf(address)))) {
    return "must be https; http only for this computer itself (localhost, 127.0.0.1, [::1])";
  }
  if (`${username}${password}` !== "") return "holds a credential: use `headers`";
  if (`${search}${hash}` !== "") return "must end with its path, to which `/v1/logs` is added";
  if (/\/v1\/(?:logs|traces)\/?$/.test(pathname)) return "leave out `/v1/logs`: it is added, as `/v1/traces` is";
  return undefined;
}

/** A URL's host, an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Whether it is this computer itself, to which no proxy leads. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
