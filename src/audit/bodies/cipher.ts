import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import type { BodyName } from "./bodies.ts";

/*
 * A body as it is kept: magic with the format's version (8 bytes), salt (32), commitment (32), ciphertext, tag (16).
 *
 * Each body has a key of its own: HKDF-SHA-256 (RFC 5869) of the session's key with the salt, which is random, and the body's place in the log as
 * `info` gives 64 bytes, of which 32 are the key of AES-256-GCM and 32 the commitment.
 *
 * - A key encrypts one message, so the nonce can be constant: SP 800-38D demands that no pair of key and nonce is used twice, and nothing more. Two
 *   bodies would need the same 256 random bits of salt for that.
 * - The place is in the derivation: a body that is moved to another call, name or key does not open.
 * - GCM alone commits to no key: whoever picks the keys can make a ciphertext that opens as two different texts. The commitment, which is
 *   compared first, leaves one key, and so one text, for a file whose digest is in the log. (As the suites with key commitment of the AWS Encryption SDK.)
 */
const MAGIC = Buffer.from("GBXBODY1");
const SALT_BYTES = 32;
const COMMITMENT_BYTES = 32;
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const HEAD_BYTES = MAGIC.length + SALT_BYTES + COMMITMENT_BYTES;
const NONCE = Buffer.alloc(12);
const ALGORITHM = "aes-256-gcm";

/** What a kept body is longer than what it holds; bytes. */
export const SEAL_BYTES = HEAD_BYTES + TAG_BYTES;

export interface BodyPlace {
  readonly keyId: string;
  readonly callId: string;
  readonly name: BodyName;
}

/** @param sessionKey 32 bytes */
export function sealBody(sessionKey: Uint8Array, place: BodyPlace, content: Uint8Array): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const { key, commitment } = derive(sessionKey, salt, place);
  const head = Buffer.concat([MAGIC, salt, commitment]);
  const cipher = createCipheriv(ALGORITHM, key, NONCE, { authTagLength: TAG_BYTES }).setAAD(head);
  return Buffer.concat([head, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed; `undefined` when this is not what that key sealed for that place. */
export function openSealed(sessionKey: Uint8Array, place: BodyPlace, sealed: Buffer): Buffer | undefined {
  if (sealed.length < SEAL_BYTES || !sealed.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const head = sealed.subarray(0, HEAD_BYTES);
  const { key, commitment } = derive(sessionKey, head.subarray(MAGIC.length, MAGIC.length + SALT_BYTES), place);
  if (!timingSafeEqual(head.subarray(MAGIC.length + SALT_BYTES), commitment)) return undefined;
  const decipher = createDecipheriv(ALGORITHM, key, NONCE, { authTagLength: TAG_BYTES }).setAAD(head);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const content = decipher.update(sealed.subarray(HEAD_BYTES, -TAG_BYTES));
  try {
    return Buffer.concat([content, decipher.final()]);
  } catch {
    // The tag is another one: a bit was changed.
    return undefined;
  }
}

function derive(sessionKey: Uint8Array, salt: Uint8Array, { keyId, callId, name }: BodyPlace) {
  const info = JSON.stringify(["glovebox body", 1, keyId, callId, name]);
  const derived = Buffer.from(hkdfSync("sha256", sessionKey, salt, info, KEY_BYTES + COMMITMENT_BYTES));
  return { key: derived.subarray(0, KEY_BYTES), commitment: derived.subarray(KEY_BYTES) };
}
