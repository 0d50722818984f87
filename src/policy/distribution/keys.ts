import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing, messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";

/** Whom to believe: an Ed25519 key (RFC 8032). */
export interface PublicKey {
  /** `sha256:` of the 32 bytes. */
  readonly id: string;
  /** `ed25519:` and the base64 of the 32 bytes. */
  readonly line: string;
  readonly key: KeyObject;
}

export interface PrivateKey {
  readonly key: KeyObject;
  readonly public: PublicKey;
}

const LINE = /^ed25519:([A-Za-z0-9+/]{43}=)$/;
/** SubjectPublicKeyInfo of an Ed25519 key up to its bytes (RFC 8410). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const MAX_KEY_FILE_BYTES = 16_384;

/** A public key as people write it. */
export const publicKeySchema = z.string().transform((text, context): PublicKey => {
  const read = parsePublicKey(text);
  if (read) return read;
  context.addIssue({ code: "custom", message: "must be a key such as ed25519:<44 characters of base64>" });
  return z.NEVER;
});

function parsePublicKey(text: string): PublicKey | undefined {
  const raw = Buffer.from(LINE.exec(text)?.[1] ?? "", "base64");
  // One spelling for each key: the bits that base64 leaves over are nought.
  if (raw.length !== 32 || `ed25519:${raw.toString("base64")}` !== text) return undefined;
  const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, raw]), format: "der", type: "spki" });
  return { id: `sha256:${createHash("sha256").update(raw).digest("hex")}`, line: text, key };
}

/** The key itself, or a file that holds nothing else. @throws GatewayError POLICY_KEY */
export async function readPublicKey(lineOrFile: string): Promise<PublicKey> {
  const written = parsePublicKey(lineOrFile);
  if (written) return written;
  if (lineOrFile.startsWith("ed25519:")) throw unusable("it is not `ed25519:` and 44 characters of base64");
  const { text } = await readSmall(lineOrFile);
  const key = parsePublicKey(text.trim());
  if (key) return key;
  throw unusable(`\`${lineOrFile}\` does not hold a line such as ed25519:<44 characters of base64>`);
}

/** PKCS#8 in PEM, which nobody but its owner may read. @throws GatewayError POLICY_KEY */
export async function readPrivateKey(file: string): Promise<PrivateKey> {
  const { text, mode } = await readSmall(file);
  if ((mode & 0o077) !== 0) {
    throw unusable(`others may read or change \`${file}\`: run chmod 600 on it; if they could before, make a new one`);
  }
  const key = asPrivateKey(file, text);
  if (key.asymmetricKeyType !== "ed25519") throw unusable(`\`${file}\` holds a key of another kind than Ed25519`);
  return { key, public: publicHalf(key) };
}

/** @throws GatewayError POLICY_KEY, also when there is such a file: a key is never written over */
export async function writeNewKey(file: string): Promise<PublicKey> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const half = publicHalf(privateKey);
  const pem = privateKey.export({ type: "pkcs8", format: "pem" });
  await writeNew(file, String(pem), 0o600);
  await writeNew(`${file}.pub`, `${half.line}\n`, 0o644);
  return half;
}

function publicHalf(privateKey: KeyObject): PublicKey {
  const raw = createPublicKey(privateKey).export({ type: "spki", format: "der" }).subarray(SPKI_HEAD.length);
  const half = parsePublicKey(`ed25519:${raw.toString("base64")}`);
  if (!half) throw unusable("it is not an Ed25519 key");
  return half;
}

function asPrivateKey(file: string, text: string): KeyObject {
  try {
    return createPrivateKey({ key: text, format: "pem" });
  } catch {
    // Not the cause: it may quote the key.
    throw unusable(`\`${file}\` does not hold an unencrypted private key in PEM`);
  }
}

async function readSmall(file: string): Promise<{ text: string; mode: number }> {
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw unusable(`\`${file}\` is not a file`);
    if (stats.size > MAX_KEY_FILE_BYTES) throw unusable(`\`${file}\` is too large for a key`);
    return { text: await handle.readFile("utf8"), mode: stats.mode };
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    if (isMissing(error)) throw unusable(`there is no file \`${file}\``);
    throw unusable(`\`${file}\` can't be read: ${messageOf(error)}`);
  }
}

async function writeNew(file: string, text: string, mode: number): Promise<void> {
  try {
    await using handle = await open(file, "wx", mode);
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    const exists = codeOf(error) === "EEXIST";
    const why = exists ? "it exists already" : messageOf(error);
    throw unusable(`\`${file}\` can't be written: ${why}`);
  }
}

function unusable(problem: string): GatewayError {
  return new GatewayError("POLICY_KEY", printable(`the key can't be used: ${problem}`));
}
