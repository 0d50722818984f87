import { isAbsolute } from "node:path";
import { z } from "zod";
import { sinkName } from "./name.ts";

/** Numbers of facilities that are for programs of one's own, and 13, which RFC 5424 §6.2.1 calls "log audit". */
export const FACILITIES = {
  user: 1,
  daemon: 3,
  auth: 4,
  authpriv: 10,
  audit: 13,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const;
type Facility = keyof typeof FACILITIES;

/** What every receiver with TLS has to take (RFC 5425 §4.3.1), and room for the header that every part of a record repeats. */
const MIN_MESSAGE_BYTES = 2048;
/** What it should take, and what rsyslog does unless its `maxMessageSize` says otherwise. */
const MESSAGE_BYTES = 8192;

const file = z
  .string()
  .min(1)
  .max(4096)
  .refine((it) => (isAbsolute(it) || it.startsWith("~/")) && !it.includes("\0"), "must be absolute or begin with ~/");

/** A receiver that speaks RFC 5424 over TLS (RFC 5425), as glovebox.yaml states it. */
export const syslogSchema = z.strictObject({
  name: sinkName,
  type: z.literal("syslog"),
  host: z
    .string()
    .regex(
      /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45})$/,
      "must be a host name or address",
    ),
  port: z.int().min(1).max(65_535).default(6514),
  /** PEM file of the authorities that may vouch for the receiver, and no others; without it, those that the gateway trusts. */
  ca: file.optional(),
  /** For a receiver that asks who is sending: PEM files of the certificate with its chain, and of its key. */
  clientCertificate: z.strictObject({ certificate: file, key: file }).optional(),
  facility: z.enum(Object.keys(FACILITIES) as [Facility, ...Facility[]]).default("audit"),
  appName: z
    .string()
    .regex(/^[\x21-\x7e]{1,48}$/, "must be 1 to 48 printable ASCII characters without spaces")
    .default("glovebox"),
  /** A record that makes a longer message is sent in parts; bytes. */
  maxMessageBytes: z.int().min(MIN_MESSAGE_BYTES).max(1_048_576).default(MESSAGE_BYTES),
  /** How long a delivery may take. */
  timeoutSeconds: z.int().min(1).max(600).default(60),
});
export type SyslogSettings = z.infer<typeof syslogSchema>;
