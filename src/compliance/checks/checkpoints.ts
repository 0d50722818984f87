import type { Check } from "../check.ts";
import { eventOf, textOf } from "../facts.ts";

/** A signature over how far the log had come: kept elsewhere, it finds a log that was written anew. */
export const checkpoints: Check = {
  id: "checkpoints",
  of: "records",
  looksFor: "Signed checkpoints of the chain are on record; their signatures are not checked here.",
  start: (tally) => (record) => {
    const checkpoint = eventOf(record, "checkpoint");
    if (!checkpoint) tally.concerns("other records");
    else tally.finds("checkpoints", textOf(checkpoint.facts, "note") ?? "a checkpoint without a note");
  },
};
