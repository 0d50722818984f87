import { factsIn, textIn, textsIn } from "./facts.ts";
import type { RecordBody } from "./record.ts";

/** What is to be looked at of an inspection: that its sandbox was confined less than it was made, or that it could not be seen. */
export function inspectedAs(body: RecordBody): "weaker" | "unseen" | undefined {
  if (body.kind !== "event" || body.event !== "session-inspected") return undefined;
  const facts = factsIn(body.facts);
  if (textsIn(facts, "weaker").length > 0) return "weaker";
  return textIn(facts, "state") === "unseen" ? "unseen" : undefined;
}
