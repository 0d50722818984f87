import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { type KeyFile, openKeyFile, readKeyFile } from "./proof/key-file.ts";

/** Makes digests that only who has the key can guess the content of. */
export interface DigestKey {
  /** HMAC-SHA-256 (RFC 2104) of the 32 bytes of a SHA-256, both in hexadecimal: the same for the same content in one data directory, and in no other. */
  keyed(sha256: string): string;
  /** The first 16 hexadecimal digits of HMAC-SHA-256 of `check value`: on record at each start, it shows that another key took the place of one. */
  readonly check: string;
}

/** Base64 of 32 bytes, in its one spelling. */
const KEY_LINE = /^REDACTION\+KEY\+([A-Za-z0-9+/]{43}=)\n?$/;

/** Beside the key that signs the log. */
export function digestKeyFile(signingKeyFile: string): string {
  return join(dirname(signingKeyFile), "redaction.key");
}

/**
 * The key of a data directory; at the first start it is made. It never leaves the directory, and stands in no record.
 * @throws GatewayError CONFIG_INVALID with what to do when it can't be used; AUDIT_UNWRITABLE when none can be made
 */
export async function openDigestKey(file: string): Promise<DigestKey> {
  return await openKeyFile(keyFile(file), () => `REDACTION+KEY+${randomBytes(32).toString("base64")}\n`);
}

/** The same of one that there is. @throws as `openDigestKey`, and ENOENT */
export async function readDigestKey(file: string): Promise<DigestKey> {
  return await readKeyFile(keyFile(file));
}

function keyFile(path: string): KeyFile<DigestKey> {
  const exposed = "count the digests of short contents that are on record as known to whoever could read it";
  return { path, what: "hides the digests of short contents in the audit log", exposed, parse: parseDigestKey };
}

/** Undefined for anything but a key. */
function parseDigestKey(line: string): DigestKey | undefined {
  const [, encoded = ""] = KEY_LINE.exec(line) ?? [];
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length !== 32 || bytes.toString("base64") !== encoded) return undefined;
  const key = createSecretKey(bytes);
  const hmac = (content: Buffer) => createHmac("sha256", key).update(content).digest("hex");
  // No digest of a content is made of so few bytes.
  const check = hmac(Buffer.from("check value")).slice(0, 16);
  return { keyed: (sha256) => hmac(Buffer.from(sha256, "hex")), check };
}
