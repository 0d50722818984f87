import { isIP } from "node:net";
import { isAbsolute } from "node:path";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { secretSource } from "../../policy/secret.ts";
import { sinkName } from "./name.ts";

const text = (maxChars: number) =>
  z
    .string()
    .min(1)
    .max(maxChars)
    .refine((it) => !it.includes("\0"), "must not contain NUL");
const file = text(4096).refine((it) => isAbsolute(it) || it.startsWith("~/"), "must be absolute or begin with ~/");

/** What needs no quotes in SQL, so that a name can be neither more nor less than a name. */
export const sqlName = z
  .string()
  .regex(
    /^[a-z_][a-z0-9_]{0,62}$/,
    "must be small letters, digits and underscores, at most 63, and not begin with a digit",
  )
  .refine((it) => !it.startsWith("pg_"), "must not begin with pg_, which is PostgreSQL's own");

/** A central store in PostgreSQL, as glovebox.yaml states it. */
export const postgresSchema = z
  .strictObject({
    type: z.literal("postgres"),
    name: sinkName,
    /** A name, an address, or the absolute path of the directory with the server's unix socket. */
    host: text(255),
    port: z.int().min(1).max(65_535).default(5432),
    database: text(63),
    user: text(63),
    /** Left out: the server asks for none, since it goes by the client's certificate or, at a unix socket, by the system's account. */
    password: secretSource.optional(),
    /** PEM files. */
    clientCertificate: z.strictObject({ certificate: file, key: file }).optional(),
    /** A PEM file of authorities to trust besides the system's. */
    ca: file.optional(),
    /** `local`: without TLS, over a unix socket or the loopback interface and nowhere else. */
    tls: z.enum(["verify-full", "local"]).default("verify-full"),
    /** Where its tables are, in the database. */
    schema: sqlName.default("glovebox"),
  })
  .superRefine(({ host, tls, clientCertificate }, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
    if (!isSocket(host) && !isHost(host)) refuse("host", "must be a host name, an address, or an absolute path");
    if (tls === "local" && !isSocket(host) && !isLoopback(host)) {
      refuse(
        "tls",
        "`local` is for a unix socket, 127.0.0.1 or ::1: elsewhere records and passwords could be read on their way",
      );
    }
    if (tls === "verify-full" && isSocket(host)) {
      refuse("tls", "a unix socket has no TLS: say `tls: local`");
    }
    if (tls === "local" && clientCertificate) refuse("clientCertificate", "belongs to TLS");
  });
export type PostgresSettings = z.output<typeof postgresSchema>;

/** Whether this is where a unix socket is, rather than a host. */
export function isSocket(host: string): boolean {
  return isAbsolute(host);
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && ipaddr.process(host).range() === "loopback";
}

function isHost(host: string): boolean {
  return isIP(host) !== 0 || (/^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$/.test(host) && !host.includes(".."));
}

/** For people: where it is. */
export function targetOf({ host, port, database }: PostgresSettings): string {
  const place = isSocket(host) ? `${host}:${port}` : `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  return `${place}/${database}`;
}
