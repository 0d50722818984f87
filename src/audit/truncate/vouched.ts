import type { Checkpoint } from "../proof/checkpoint.ts";
import { type Note, signedBy } from "../proof/note.ts";
import { readRotation } from "../proof/rotation.ts";
import type { Signer } from "../proof/signer.ts";

/** What of a chain is known to be this data directory's own. */
export interface Vouched {
  /** What was signed last, as it is remembered apart from the log. */
  readonly signed: Checkpoint;
  /** Whether its key signed a note, or one that its key took the place of. */
  readonly isOwn: (note: Note) => boolean;
}

export function vouchedBy({ key, rotations }: Pick<Signer, "key" | "rotations">, signed: Checkpoint): Vouched {
  const keys = [key, ...rotations.map((it) => readRotation(it)?.from).filter((it) => it !== undefined)];
  return { signed, isOwn: (note) => keys.some((it) => signedBy(note, it) === "good") };
}
