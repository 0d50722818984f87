import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";

/*
 * Signed notes (c2sp.org/signed-note): a text, an empty line, and a line for each signature: `— <key name> <base64 of key id and signature>`. A key's
 * public half is written as `<name>+<id>+<base64>` (golang.org/x/mod/sumdb/note). Only Ed25519 is known here.
 */

/** The specification asks for room for 16 signatures of up to 5 kB. */
const MAX_NOTE_CHARS = 128 * 1024;
const MAX_SIGNATURES = 100;
const MAX_NAME_CHARS = 200;
const ED25519 = 1;
/** SubjectPublicKeyInfo of an Ed25519 key up to its bytes (RFC 8410). */
export const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const KEY_LINE = /^([^+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$/;
const SIGNATURE_LINE = /^— ([^ ]{1,200}) ([A-Za-z0-9+/=]{8,10000})$/;

/** Whom to believe. Name and id together tell which key made a signature. */
export interface VerifierKey {
  readonly name: string;
  /** Eight hex digits: a short name for the key, no proof of it. */
  readonly id: string;
  /** As people and files hand it on. */
  readonly line: string;
  readonly key: KeyObject;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: string;
  readonly signature: Buffer;
}

export interface Note {
  /** With its last newline: what is signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A verifier key in its one spelling; undefined for anything else, also for other algorithms. */
export function parseVerifierKey(line: string): VerifierKey | undefined {
  const [, name = "", id = "", encoded = ""] = KEY_LINE.exec(line) ?? [];
  const bytes = Buffer.from(encoded, "base64");
  if (!isKeyName(name) || bytes.length !== 33 || bytes[0] !== ED25519 || bytes.toString("base64") !== encoded) {
    return undefined;
  }
  const made = verifierKey(name, bytes.subarray(1));
  return made.id === id ? made : undefined;
}

/** @param publicKey the 32 bytes of RFC 8032 */
export function verifierKey(name: string, publicKey: Buffer): VerifierKey {
  const typed = Buffer.concat([Buffer.from([ED25519]), publicKey]);
  const id = hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), typed])).slice(0, 8);
  const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, publicKey]), format: "der", type: "spki" });
  return { name, id, line: `${name}+${id}+${typed.toString("base64")}`, key };
}

/** Not empty, no Unicode space, no plus. */
export function isKeyName(name: string): boolean {
  return name.length <= MAX_NAME_CHARS && name.isWellFormed() && /^[^\s\u0085\p{Z}+]+$/u.test(name);
}

/** @param text ends with a newline */
export function signedNote(text: string, { name, id }: VerifierKey, sign: (text: Buffer) => Buffer): string {
  const signature = Buffer.concat([Buffer.from(id, "hex"), sign(Buffer.from(text))]);
  return `${text}\n— ${name} ${signature.toString("base64")}\n`;
}

/** A note in its one form; undefined for anything else. Whose the signatures are is not looked at. */
export function parseNote(note: string): Note | undefined {
  if (note.length > MAX_NOTE_CHARS || !note.isWellFormed() || hasControls(note)) return undefined;
  // The text may have empty lines of its own: the last one separates.
  const cut = note.lastIndexOf("\n\n");
  if (cut === -1 || !note.endsWith("\n")) return undefined;
  const lines = note.slice(cut + 2, -1).split("\n", MAX_SIGNATURES + 1);
  if (lines.length > MAX_SIGNATURES) return undefined;
  const signatures = lines.map(parseSignature).filter((it) => it !== undefined);
  return signatures.length === lines.length ? { text: note.slice(0, cut + 1), signatures } : undefined;
}

function parseSignature(line: string): NoteSignature | undefined {
  const [, name = "", encoded = ""] = SIGNATURE_LINE.exec(line) ?? [];
  const bytes = Buffer.from(encoded, "base64");
  if (!isKeyName(name) || bytes.length < 5 || bytes.toString("base64") !== encoded) return undefined;
  return { name, id: bytes.subarray(0, 4).toString("hex"), signature: bytes.subarray(4) };
}

/**
 * Whether the key signed the note. Signatures of other keys say nothing, also where they share its name or its id; one of several that is
 * not the key's makes the note `bad`.
 */
export function signedBy({ text, signatures }: Note, { name, id, key }: VerifierKey): "good" | "bad" | "not" {
  const own = signatures.filter((it) => it.name === name && it.id === id);
  if (own.length === 0) return "not";
  return own.every(({ signature }) => isSignature(text, key, signature)) ? "good" : "bad";
}

function isSignature(text: string, key: KeyObject, signature: Buffer): boolean {
  return signature.length === 64 && verify(null, Buffer.from(text), key, signature);
}

function hasControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  return /[\u0000-\u0009\u000b-\u001f]/.test(text);
}
