import { GatewayError } from "../../errors.ts";
import { type Checkpoint, chainOf, parseCheckpoint } from "./checkpoint.ts";
import { type Note, parseNote } from "./note.ts";

/** A checkpoint that was kept apart from the log. */
export interface SavedCheckpoint extends Checkpoint {
  readonly chain: string;
  readonly note: Note;
}

/**
 * Notes, one after the other, with or without empty lines in between: as `glovebox audit checkpoints` prints them.
 * @throws GatewayError INVALID_ARGUMENTS, with the line at which something else stands
 */
export function readSavedCheckpoints(text: string): SavedCheckpoint[] {
  return splitNotes(text).map(({ note, line }) => {
    const parsed = parseNote(note);
    const checkpoint = parsed && parseCheckpoint(parsed.text);
    const chain = checkpoint && chainOf(checkpoint.origin);
    if (parsed && checkpoint && chain !== undefined) return { ...checkpoint, chain, note: parsed };
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `line ${line} of the saved checkpoints begins no checkpoint of this log`,
    );
  });
}

/** Cuts behind each block of signatures. INVARIANT: linear. */
export function splitNotes(text: string): { readonly note: string; readonly line: number }[] {
  const notes: { note: string; line: number }[] = [];
  let lines: string[] = [];
  let start = 1;
  let signed = false;
  const end = () => {
    if (lines.length > 0) notes.push({ note: `${lines.join("\n")}\n`, line: start });
    lines = [];
    signed = false;
  };
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const isSignature = line.startsWith("— ");
    if (signed && !isSignature) end();
    if (lines.length === 0) {
      if (line === "") continue;
      start = at + 1;
    }
    lines.push(line);
    signed = isSignature;
  }
  end();
  return notes;
}
