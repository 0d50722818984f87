import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { constants } from "node:fs";
import { link, lstat, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing, messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { syncDirectory } from "../files.ts";
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
const MAX_FILE_BYTES = 1_024;
const MAX_HOST_CHARS = 40;
/** Behind the name of the key, or of the next one. */
const DRAFT_END = /^(?:\.next)?\.[0-9a-f]{16}\.draft$/;
/** Nobody takes so long to make a key. */
const DRAFT_MS = 60 * 60_000;

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
  try {
    await checkDirectory(dirname(file));
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > MAX_FILE_BYTES)
      throw unusable(file, "it is not a key file: restore it from a backup");
    if ((stats.mode & 0o077) !== 0) {
      throw unusable(file, "others may read or change it: run chmod 600 on it, then `glovebox audit key rotate`");
    }
    const key = parseSigningKey(await handle.readFile("utf8"));
    if (key) return key;
    throw unusable(file, "it holds no key: restore it from a backup, or move it away so that a new one is made");
  } catch (error) {
    throw isMissing(error) || error instanceof GatewayError ? error : unwritable(file, error);
  }
}

/** As `readSigningKey`, having made one where there is none. @param hostName what its name begins with */
export async function openSigningKey(file: string, hostName: string): Promise<SigningKey> {
  await removeOldDrafts(file).catch(() => undefined);
  try {
    return await readSigningKey(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await makeSigningKey(file, newKeyName(hostName));
  // Another gateway that starts may have made one in the same instant: then that one is ours as well.
  return await readSigningKey(file);
}

/** Makes the key where there is none, and leaves one that is there as it is. It is on disk, whole, before it has its name. */
export async function makeSigningKey(file: string, name: string): Promise<void> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEAD.length);
  const { id } = signingKey(name, privateKey).verifier;
  const typed = Buffer.concat([Buffer.from([1]), seed]).toString("base64");
  const draft = `${file}.${randomBytes(8).toString("hex")}.draft`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    {
      await using handle = await open(draft, "wx", 0o600);
      await handle.writeFile(`PRIVATE+KEY+${name}+${id}+${typed}\n`);
      await handle.sync();
    }
    await link(draft, file).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
    await syncDirectory(dirname(file));
    await syncDirectory(dirname(dirname(file)));
  } catch (error) {
    throw unwritable(file, error);
  } finally {
    await rm(draft, { force: true });
  }
}

/** What a process left that was killed while it made this key or the next one: a key that nobody knows of is not to lie about. */
async function removeOldDrafts(file: string): Promise<void> {
  const directory = dirname(file);
  for (const name of await readdir(directory)) {
    if (!name.startsWith(basename(file)) || !DRAFT_END.test(name.slice(basename(file).length))) continue;
    const { mtimeMs, uid } = await lstat(join(directory, name));
    const isOld = Date.now() - mtimeMs > DRAFT_MS;
    if (isOld && uid === process.getuid?.()) await rm(join(directory, name), { force: true });
  }
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

async function checkDirectory(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if ((mode & 0o077) === 0) return;
  throw unusable(directory, "others may read or change what is in it: run chmod 700 on it");
}

function unusable(path: string, what: string): GatewayError {
  return new GatewayError(
    "CONFIG_INVALID",
    `the key that signs the audit log cannot be used: \`${printable(path)}\`: ${what}`,
  );
}

function unwritable(path: string, cause: unknown): GatewayError {
  const message = `the key that signs the audit log, \`${printable(path)}\`, cannot be read or made: ${messageOf(cause)}`;
  return new GatewayError("AUDIT_UNWRITABLE", printable(message), { cause });
}
