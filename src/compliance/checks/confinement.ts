import type { Json } from "../../audit/record.ts";
import type { Check } from "../check.ts";
import { eventOf, factOf, textOf } from "../facts.ts";

/** The record does not say. */
export const UNKNOWN = "unknown";
/** It is not there, and nobody demanded it. */
export const ABSENT = "absent";

/** What is wrong with a sandbox by one word about it: `undefined` when nothing is, or one of the two above, or in words. */
export type Wrong = (word: Json) => string | undefined;

/** Whose word is asked. */
export interface Words {
  /** Of a program inside, which the kernel told it when the session was opened or woken, before any program of the agent ran. */
  readonly attested?: Wrong;
  /** Of an inspection from outside of the container, while it ran: all that `session-inspected` has. */
  readonly inspected?: Wrong;
}

/** How containers were confined: by what each attested, and by what inspections saw, where there were some. */
export function confinement(id: string, looksFor: string, { attested, inspected }: Words): Check {
  return {
    id,
    of: "records",
    looksFor,
    start: (tally) => (record) => {
      const told = eventOf(record, "session-opened", "session-woken", "session-inspected");
      if (!told) return;
      const live = told.event === "session-inspected";
      const wrong = live ? inspected : attested;
      const word = live ? inspectionOf(told.facts) : attestationOf(told.facts);
      // An opening says nothing to a question that only an inspection answers; what could not be looked at says nothing at all.
      if (!wrong || (live && word === undefined)) {
        return attested
          ? undefined
          : tally.concerns(live ? "sessions that were not inspected" : "sessions opened or woken");
      }
      const problem = word === undefined ? UNKNOWN : wrong(word);
      const sessionId = told.sessionId ?? "a session";
      if (problem === UNKNOWN) tally.concerns("containers of which the record does not say");
      else if (problem === ABSENT) tally.concerns("inspected containers without it");
      else if (problem !== undefined) tally.contradicts("containers that are not", `${sessionId}: ${problem}`);
      else if (live) tally.finds("inspections that saw it", `${sessionId}: inspected while it ran`);
      else tally.finds("containers that attested it", `${sessionId}: attested`);
    },
  };
}

/** Without a boot id these are no facts of a sandbox, and what is absent from them says nothing. */
function attestationOf(facts: Json): Json | undefined {
  const attestation = factOf(facts, "attestation");
  return textOf(attestation, "bootId") === undefined ? undefined : attestation;
}

/** Of a session that could be looked at. */
export function inspectionOf(facts: Json): Json | undefined {
  return textOf(facts, "state") === "inspected" && textOf(factOf(facts, "container"), "id") !== undefined
    ? facts
    : undefined;
}

/** A rule about what the engine said of the container. */
export function ofContainer(wrong: Wrong): Wrong {
  return (facts) => wrong(factOf(facts, "container") ?? null);
}

export function toldBy(fact: Json | undefined, good: Json, otherwise: string): string | undefined {
  if (fact === undefined) return UNKNOWN;
  return fact === good ? undefined : otherwise;
}
