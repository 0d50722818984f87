import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { type KeyFile, makeKeyFile, openKeyFile, readKeyFile } from "./key-file.ts";
import { SPKI_HEAD, signedNote, type VerifierKey, verifierKey } from "./note.ts";

/** An Ed25519 key that signs notes, under a name. */
export interface SigningKey {
  readonly verifier: VerifierKey;
  /** A note of the text, which ends with a newline. */
  sign(text: string): string;
}

/** As golang.org/x/mod/sumdb/note writes it; the last part is the algorithm (1) and the 32 bytes of the seed. */
const KEY_LINE = /^PRIVATE\+KEY\+([^+\n]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})\n?$/;
/** PKCS#8 of an Ed25519 key up to its seed (RFC 8410). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");
const MAX_HOST_CHARS = 40;

/** The key in its one spelling; undefined for anything else. */
export function parseSigningKey(line: string): SigningKey | undefined {
  const [, name = "", id = "", encoded = ""] = KEY_LINE.exec(line) ?? [];
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length !== 33 || bytes[0] !== 1 || bytes.toString("base64") !== encoded) return undefined;
  const seed = bytes.subarray(1);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: "der", type: "pkcs8" });
  const made = signingKey(name, key);
  return made.verifier.id === id ? made : undefined;
}

/**
 * The key of a data directory. Its directory and the file are the owner's alone.
 * @throws GatewayError CONFIG_INVALID with what to do when it can't be used; AUDIT_UNWRITABLE when it can't be read or made
 */
export async function readSigningKey(file: string): Promise<SigningKey> {
  return await readKeyFile(signingKeyFile(file));
}

/** As `readSigningKey`, having made one where there is none. @param hostName what its name begins with */
export async function openSigningKey(file: string, hostName: string): Promise<SigningKey> {
  return await openKeyFile(signingKeyFile(file), () => newKeyLine(newKeyName(hostName)));
}

/** Makes the key where there is none, and leaves one that is there as it is. */
export async function makeSigningKey(file: string, name: string): Promise<void> {
  await makeKeyFile(signingKeyFile(file), newKeyLine(name));
}

function signingKeyFile(path: string): KeyFile<SigningKey> {
  return { path, what: "signs the audit log", exposed: "`glovebox audit key rotate`", parse: parseSigningKey };
}

function newKeyLine(name: string): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEAD.length);
  const { id } = signingKey(name, privateKey).verifier;
  const typed = Buffer.concat([Buffer.from([1]), seed]).toString("base64");
  return `PRIVATE+KEY+${name}+${id}+${typed}\n`;
}

/** Tells gateways apart for people, and never two of them by chance: `ada-laptop-1f0c9a3e`. */
function newKeyName(hostName: string): string {
  const host = hostName
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]/g, "-")
    .slice(0, MAX_HOST_CHARS);
  return `${host === "" ? "gateway" : host}-${randomBytes(4).toString("hex")}`;
}

function signingKey(name: string, key: KeyObject): SigningKey {
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(SPKI_HEAD.length);
  const verifier = verifierKey(name, publicKey);
  return { verifier, sign: (text) => signedNote(text, verifier, (bytes) => sign(null, bytes, key)) };
}
