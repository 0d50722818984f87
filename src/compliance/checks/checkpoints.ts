import type { Check } from "../check.ts";
import { eventOf, textOf } from "../facts.ts";

/** A signature over how far the log had come: kept elsewhere, it finds a log that was written anew. */
export const checkpoints: Check = {
  id: "checkpoints",
  of: "records",
  looksFor: "Signed checkpoints of the chain are on record; their signatures are not checked here.",
  start: (tally) => (record) => {
    const checkpoint = eventOf(record, "checkpoint");
    if (!checkpoint) return tally.concerns("other records");
    // Its lines are origin, size, root and signatures; the head of the report has the latest as it is.
    const [origin = "", size = ""] = (textOf(checkpoint.facts, "note") ?? "").split("\n", 2);
    tally.finds("checkpoints", origin === "" ? "a checkpoint without a note" : `${size} records of ${origin}`);
  },
};
