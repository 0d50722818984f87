import { sign, verify } from "node:crypto";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import type { PrivateKey, PublicKey } from "./keys.ts";

/*
 * DSSE (github.com/secure-systems-lab/dsse, protocol.md and envelope.md, v1.0.2) with Ed25519 and nothing else: no field of an envelope
 * chooses an algorithm, and `keyid` chooses no key.
 */

export const MAX_ENVELOPE_BYTES = 262_144;
export const MAX_SIGNATURES = 16;

const base64 = z.base64().refine((it) => Buffer.from(it, "base64").toString("base64") === it, "has a second spelling");

export const envelopeSchema = z.strictObject({
  payloadType: z.string().max(200),
  payload: base64,
  signatures: z
    .array(z.strictObject({ keyid: z.string().max(200).optional(), sig: base64.length(88) }))
    .min(1)
    .max(MAX_SIGNATURES),
});

export type Envelope = z.infer<typeof envelopeSchema>;

/** What is signed: both lengths are in bytes, so that no two pairs of type and body are the same bytes. */
export function preAuthenticationEncoding(payloadType: string, body: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${body.length} `;
  return Buffer.concat([Buffer.from(head), body]);
}

/**
 * The text of an envelope that this key signed, too. Signatures of others over the same payload are kept.
 * @param before the envelope as it was, if there was one that can be read
 * @throws GatewayError POLICY_SIGNATURE when there is no room for a signature
 */
export function signEnvelope(payloadType: string, payload: Buffer, signer: PrivateKey, before?: Buffer): string {
  const envelope = addSignature(payloadType, payload, signer, before && readEnvelope(before));
  return `${JSON.stringify(envelope, null, 2)}\n`;
}

/** The same of an envelope that has been read. @throws GatewayError POLICY_SIGNATURE when there is no room for a signature */
export function addSignature(payloadType: string, payload: Buffer, signer: PrivateKey, before?: Envelope): Envelope {
  const same = before?.payloadType === payloadType && before.payload === payload.toString("base64");
  const others = same ? before.signatures.filter((it) => it.keyid !== signer.public.id) : [];
  if (others.length >= MAX_SIGNATURES)
    throw broken(`it has ${MAX_SIGNATURES} signatures, and there is no room for more`);
  const sig = sign(null, preAuthenticationEncoding(payloadType, payload), signer.key).toString("base64");
  const signatures = [...others, { keyid: signer.public.id, sig }];
  return { payloadType, payload: payload.toString("base64"), signatures };
}

/** What is inside, and who signed exactly these bytes; they are not looked at before. @throws GatewayError POLICY_SIGNATURE */
export function openEnvelope(
  envelope: Buffer,
  payloadType: string,
  keys: readonly PublicKey[],
): { readonly payload: Buffer; readonly signedBy: readonly PublicKey[] } {
  const read = readEnvelope(envelope);
  if (!read) throw broken("its envelope can't be read");
  if (read.payloadType !== payloadType) throw broken(`its envelope is not one of ${payloadType}`);
  const signedBy = envelopeSigners(read, payloadType, keys);
  if (signedBy.length > 0) return { payload: Buffer.from(read.payload, "base64"), signedBy };
  throw broken("none of its signatures is by a key that is trusted here");
}

/** Those of the keys that signed what is inside, as this type: what the envelope itself says of its type decides nothing. */
export function envelopeSigners(
  envelope: Envelope,
  payloadType: string,
  keys: readonly PublicKey[],
): readonly PublicKey[] {
  const signed = preAuthenticationEncoding(payloadType, Buffer.from(envelope.payload, "base64"));
  const signatures = envelope.signatures.map((it) => Buffer.from(it.sig, "base64"));
  return keys.filter(({ key }) => signatures.some((it) => verify(null, signed, key, it)));
}

function readEnvelope(bytes: Buffer): Envelope | undefined {
  if (bytes.length > MAX_ENVELOPE_BYTES) return undefined;
  try {
    const parsed = envelopeSchema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    return parsed.data;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function broken(problem: string): GatewayError {
  return new GatewayError("POLICY_SIGNATURE", `the bundle's signature does not hold: ${problem}`);
}
