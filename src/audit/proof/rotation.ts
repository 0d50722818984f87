import { parseNote, parseVerifierKey, signedBy, type VerifierKey } from "./note.ts";

/*
 * That a key takes another's place: a note of both verifier keys, signed by the old one, and by the new one so that nobody can claim a key which they
 * do not have. Its second line is no number, so that it never passes for a checkpoint.
 */

const TITLE = "glovebox/audit-key-rotated";

export interface Rotation {
  readonly from: VerifierKey;
  readonly to: VerifierKey;
}

export function rotationText(from: VerifierKey, to: VerifierKey): string {
  return `${TITLE}\n${from.line}\n${to.line}\n`;
}

/** What the note says, when both keys signed it. Whether the old one is to be believed is for who asks to know. */
export function readRotation(note: string): Rotation | undefined {
  const parsed = parseNote(note);
  if (!parsed) return undefined;
  const [title, from, to, end, ...more] = parsed.text.split("\n");
  if (title !== TITLE || from === undefined || to === undefined || end !== "" || more.length > 0) return undefined;
  const [old, next] = [parseVerifierKey(from), parseVerifierKey(to)];
  if (!old || !next || signedBy(parsed, old) !== "good" || signedBy(parsed, next) !== "good") return undefined;
  return { from: old, to: next };
}

/** The two signatures in one note. */
export function joinRotation(byOld: string, byNew: string): string {
  return byOld + byNew.slice(byNew.lastIndexOf("\n\n") + 2);
}
