import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const WEBHOOK_KEY_WANTED =
  "must be `whsec_` and base64 of 24 to 64 random bytes: make one with `echo whsec_$(openssl rand -base64 32)`";
/** How far a message's clock may be from ours, in seconds: what Standard Webhooks' own libraries allow. */
const TOLERANCE_SECONDS = 300;
/** More than one is for a secret that is being replaced. */
const MAX_SIGNATURES = 8;

/**
 * The key in a secret: `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks says.
 * `undefined` for anything else: `WEBHOOK_KEY_WANTED` says what is wanted.
 */
export function readWebhookKey(secret: string): Buffer | undefined {
  const [, encoded = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  const key = Buffer.from(encoded, "base64");
  return key.length >= 24 && key.length <= 64 && key.toString("base64") === encoded ? key : undefined;
}

/**
 * The headers that sign a body: HMAC-SHA256 of `id.timestamp.body` (https://www.standardwebhooks.com, "symmetric signatures").
 */
export function signWebhook(key: Buffer, id: string, body: string, nowMs = Date.now()): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1000));
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${hmac(key, id, timestamp, Buffer.from(body)).toString("base64")}`,
  };
}

/** What is wrong with a signed body, in words; `undefined`: nothing. */
export function webhookProblem(
  key: Buffer,
  headers: IncomingHttpHeaders,
  body: Buffer,
  nowMs = Date.now(),
): string | undefined {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((it) => headers[it]);
  if (typeof id !== "string" || typeof timestamp !== "string" || typeof signatures !== "string") return "is not signed";
  if (!/^[0-9]{1,12}$/.test(timestamp)) return "has no timestamp in seconds";
  const expected = hmac(key, id, timestamp, body);
  const given = signatures.split(" ").slice(0, MAX_SIGNATURES);
  if (!given.some((it) => isSignature(it, expected))) return "is not signed with the secret";
  if (Math.abs(nowMs / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS) return undefined;
  return "was signed more than five minutes ago, or the clocks differ";
}

function isSignature(given: string, expected: Buffer): boolean {
  if (!given.startsWith("v1,")) return false;
  const bytes = Buffer.from(given.slice(3), "base64");
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}

function hmac(key: Buffer, id: string, timestamp: string, body: Buffer): Buffer {
  return createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
}
