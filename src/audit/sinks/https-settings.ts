import { isAbsolute } from "node:path";
import { z } from "zod";
import { mayCarrySecret, secretSource } from "../../policy/secret.ts";
import { sinkName } from "./name.ts";

/** Headers that the driver sets itself. */
const OWN_HEADERS =
  /^(?:content-type|accept-encoding|user-agent|authorization|idempotency-key|webhook-(?:id|timestamp|signature))$/i;

const path = z
  .string()
  .min(1)
  .max(4096)
  .refine((it) => (isAbsolute(it) || it.startsWith("~/")) && !it.includes("\0"), "must be absolute or begin with ~/");
const header = z
  .string()
  .refine(
    (it) => mayCarrySecret(it) && !OWN_HEADERS.test(it),
    "must be the name of a header that neither frames the request nor is set by Glovebox",
  );
const plainWord = (message: string) => z.string().regex(/^[\x21-\x7e]{1,200}$/, message);

/** Settings of a sink that is reached by HTTPS: batches of JSON, Splunk's HTTP Event Collector, Elasticsearch or OpenSearch. */
export const httpsSchema = z
  .strictObject({
    name: sinkName,
    type: z.literal("https"),
    url: z.string().max(2048).refine(isPlainHttps, "must be an https:// address without user, password or #fragment"),
    /** Sent as `Bearer`, to Splunk as `Splunk`, to Elasticsearch as `ApiKey`; with `user`, as the password of `Basic`. */
    token: secretSource.optional(),
    user: z
      .string()
      .regex(/^[^:\p{C}]{1,200}$/u, "must not contain a colon")
      .optional(),
    /** Signs each request as Standard Webhooks does: `whsec_` and base64 of 24 to 64 random bytes. */
    signingSecret: secretSource.optional(),
    headers: z
      .record(header, z.string().regex(/^[\x20-\x7e]{0,2000}$/, "must be printable ASCII"))
      .refine((it) => Object.keys(it).length <= 32, "at most 32")
      .default({}),
    gzip: z.boolean().default(true),
    /** PEM file: the server's certificate has to be of one of these authorities, and no other's. */
    ca: path.optional(),
    /** PEM files. */
    clientCertificate: z.strictObject({ certificate: path, key: path }).optional(),
    splunk: z
      .strictObject({
        index: plainWord("must be the name of an index").optional(),
        source: z.string().min(1).max(200).default("glovebox"),
        sourcetype: z.string().min(1).max(200).default("glovebox:audit"),
      })
      .optional(),
    elasticsearch: z
      .strictObject({
        /** Index, alias or data stream. */
        index: z.string().regex(/^[a-z0-9.][a-z0-9._-]{0,199}$/, "must be the name of an index, in small letters"),
      })
      .optional(),
  })
  .superRefine(({ splunk, elasticsearch, token, user, url }, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
    if (splunk && elasticsearch) refuse("elasticsearch", "give splunk or elasticsearch, not both");
    if (splunk && !token) refuse("token", "Splunk takes nothing without the token of an HTTP Event Collector");
    if (splunk && user !== undefined) refuse("user", "Splunk's tokens belong to no user");
    if (user !== undefined && !token) refuse("token", "is the user's password: name its source");
    if ((splunk || elasticsearch) && URL.parse(url)?.search) refuse("url", "must have no ?query here");
  });
export type HttpsSettings = z.infer<typeof httpsSchema>;

function isPlainHttps(address: string): boolean {
  const url = URL.parse(address);
  return url?.protocol === "https:" && `${url.username}${url.password}${url.hash}` === "";
}
