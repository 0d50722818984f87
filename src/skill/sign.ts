import { z } from "zod";
import type { Problem } from "../policy/bundle.ts";
import {
  addSignature,
  envelopeSchema,
  envelopeSigners,
  MAX_ENVELOPE_BYTES,
  MAX_SIGNATURES,
} from "../policy/distribution/dsse.ts";
import { type PrivateKey, type PublicKey, publicKeySchema } from "../policy/distribution/keys.ts";
import { readTrustedFile } from "./trusted-file.ts";

/** Beside the lock. */
export const LOCK_SIGNATURE_FILE = "skills.lock.dsse.json";

/** Of its own, so that a signature over anything else, such as a policy bundle, is none over a lock, and the other way round. */
const PAYLOAD_TYPE = "application/vnd.glovebox.skills-lock+yaml";

/** The keys are no secret, and are believed in nothing: who is trusted is named elsewhere, by the keys' ids. */
const fileSchema = z.strictObject({
  keys: z.array(publicKeySchema).min(1).max(MAX_SIGNATURES),
  envelope: envelopeSchema,
});

export interface Signers {
  /** Ids of the keys whose signature over exactly this lock is valid, as policy names them; none when there is a problem. */
  readonly signedBy: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * The text of the file that vouches for a lock. Valid signatures of others over the same lock are kept.
 * @param before the file as it was, if there was one
 * @throws GatewayError POLICY_SIGNATURE when there is no room for a signature
 */
export function signLock(lock: Buffer, signer: PrivateKey, before?: Buffer): string {
  const known = before && parse(before);
  const others = known && isOver(known.envelope, lock) ? validOf(known) : [];
  const envelope = addSignature(PAYLOAD_TYPE, lock, signer, known?.envelope);
  const keys = new Set([...others, signer.public].map((it) => it.line));
  return `${JSON.stringify({ keys: [...keys], envelope }, null, 2)}\n`;
}

/** The same of the file that lies beside the lock, if there is one. @throws GatewayError POLICY_SIGNATURE when there is no room for a signature */
export async function signLockIn(directory: string, lock: Buffer, signer: PrivateKey): Promise<string> {
  const before = await readTrustedFile(directory, LOCK_SIGNATURE_FILE, MAX_ENVELOPE_BYTES);
  return signLock(lock, signer, before && "content" in before ? before.content : undefined);
}

/** Who signed exactly this lock. */
export function signersOf(signature: Buffer, lock: Buffer): Signers {
  const read = parse(signature);
  if (!read) return refused("can't be read", "remove it, and sign again with `glovebox skill lock --key …`");
  if (!isOver(read.envelope, lock)) return refused("signs something else than this lock");
  const signedBy = [...new Set(validOf(read).map((it) => it.id))];
  return signedBy.length > 0 ? { signedBy, problems: [] } : refused("none of its signatures holds");
}

/** Who signed the lock that was read of a directory. */
export async function readSigners(directory: string, lock: Buffer): Promise<Signers> {
  const read = await readTrustedFile(directory, LOCK_SIGNATURE_FILE, MAX_ENVELOPE_BYTES);
  if (!read) return { signedBy: [], problems: [] };
  return "problem" in read ? { signedBy: [], problems: [read.problem] } : signersOf(read.content, lock);
}

type Signature = z.infer<typeof fileSchema>;

function validOf({ envelope, keys }: Signature): readonly PublicKey[] {
  return envelopeSigners(envelope, PAYLOAD_TYPE, keys);
}

function isOver({ payloadType, payload }: Signature["envelope"], lock: Buffer): boolean {
  return payloadType === PAYLOAD_TYPE && payload === lock.toString("base64");
}

function parse(bytes: Buffer): Signature | undefined {
  if (bytes.length > MAX_ENVELOPE_BYTES) return undefined;
  try {
    return fileSchema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))).data;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function refused(
  message: string,
  fix = "look at what changed, then sign it with `glovebox skill lock --key …`",
): Signers {
  return { signedBy: [], problems: [{ file: LOCK_SIGNATURE_FILE, message, fix }] };
}
