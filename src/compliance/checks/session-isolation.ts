import type { Json } from "../../audit/record.ts";
import { BEFORE_REMOVED, followBeginning } from "../beginning.ts";
import type { Check } from "../check.ts";
import { eventOf, factOf, listOf, textOf } from "../facts.ts";

/** What only programs of an agent can cause. */
const USED = ["process-ended", "connection-opened", "package-admitted"] as const;
/** Their machine has a kernel of its own; `userspace-kernel` and `shared-kernel` do not. */
const OWN_KERNEL = "microvm";
const MAX_SESSIONS = 100_000;

/** Nothing ran in a sandbox about whose isolation nothing is known. */
export const sessionIsolation: Check = {
  id: "session-isolation",
  of: "records",
  looksFor:
    "Sessions were opened in a virtual machine of their own, and what the sandbox attested from inside, before any program of the agent ran, is on record.",
  start: (tally) => {
    const open = new Set<string>();
    const mayHaveBegunBefore = followBeginning();
    return (record) => {
      const isCut = mayHaveBegunBefore(record);
      const opened = eventOf(record, "session-opened", "session-woken");
      if (opened) {
        const sessionId = opened.sessionId ?? "";
        if (open.size < MAX_SESSIONS) open.add(sessionId);
        const level = textOf(factOf(opened.facts, "machine"), "level");
        if (level === undefined || !isAttested(factOf(opened.facts, "attestation"))) {
          tally.contradicts("sandboxes without isolation facts", `${opened.event} ${sessionId} has no isolation facts`);
        } else if (level === OWN_KERNEL)
          tally.finds("in a virtual machine, attested", textFor(sessionId, opened.facts));
        else tally.concerns(level === "userspace-kernel" ? "in gVisor, attested" : "on a shared kernel, attested");
        return;
      }
      const used = eventOf(record, ...USED);
      if (used?.sessionId === undefined || open.has(used.sessionId) || open.size === MAX_SESSIONS) return;
      if (isCut) return tally.concerns(BEFORE_REMOVED);
      tally.contradicts("used and never opened", `${used.event} in ${used.sessionId}, which was not opened before`);
    };
  },
};

function isAttested(attestation: Json | undefined): boolean {
  return textOf(attestation, "bootId") !== undefined && listOf(attestation, "mounts") !== undefined;
}

function textFor(sessionId: string, facts: Json): string {
  const machine = factOf(facts, "machine");
  const attestation = factOf(facts, "attestation");
  const engine = [textOf(machine, "engine"), textOf(machine, "engineVersion"), textOf(machine, "acceleration")];
  return `${sessionId}: ${engine.join(" ")}, kernel ${textOf(attestation, "kernelRelease") ?? "unknown"}`;
}
