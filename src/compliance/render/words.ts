import type { ChainRead } from "../chain-read.ts";
import type { CheckState, Example } from "../check.ts";
import type { ControlState, Report } from "../report.ts";

export const STATE_WORDS: Readonly<Record<ControlState | CheckState, string>> = {
  contradicted: "contradicted by the log",
  found: "evidence found",
  partial: "some of the evidence found",
  none: "no evidence found",
  "no-data": "nothing in the log to judge by",
  "not-covered": "not covered",
};

/** What every report says of itself. */
export const WHAT_IT_IS: readonly string[] = [
  "This report says which evidence an audit log of Glovebox holds for controls of known frameworks, which it does not hold, and what of a control is outside of what Glovebox can show. It is no assessment: whether a control is met is for people to judge, with more than this log.",
  "Every chain was verified by its own hashes and checkpoints; signatures were not checked: `glovebox audit verify --keys` does that.",
  "Evidence is what records say, and records say what a gateway did. What went past Glovebox is in no record.",
  "Facts about containers are what each sandbox attested from inside when its session was opened or woken, and what inspections saw from outside of its container while it ran, as both are on record. An inspection happens when somebody asks for it (`--live`); between two nothing is said. What a machine's own container engine says is the word of a guest, and evidence of how a container is configured: that it is contained is enforced outside of the machine.",
  "Events of which too many came at once are counted by the gateway, not recorded one by one.",
];

export const NOT_WHOLE = "It is damaged: nothing of it counts as evidence.";
export const TORN = "Half a record at its end, as a crash leaves it. The whole records count.";

/** What is to be known of a chain that evidence comes from. */
export function verifiedOf({ isWhole, problemCount, truncated }: ChainRead): string {
  const verified = problemCount === 0 ? "verifies" : isWhole ? "torn end" : `damaged: ${problemCount} problems`;
  if (!truncated) return verified;
  return `${verified}; ${truncated.records} records from before ${truncated.before} are gone, removed by rule`;
}

/** Behind a policy that came into force before the time asked for. */
export const AT_BEGINNING = ", the last on record before the time asked for";

/** Where an example is in the log. */
export function placeOf({ chain, seq, time }: Example): string {
  const record = seq === undefined ? "" : `record ${seq} of `;
  return `${time === undefined ? "" : `${time}, `}${record}${chain}`;
}

export function countsOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, count]) => `${what}: ${count}`)
    .join("; ");
}

export function windowOf({ window: { since, until } }: Report): string {
  if (since === undefined && until === undefined) return "all of the log";
  return [since === undefined ? "" : `from ${since}`, until === undefined ? "" : `before ${until}`].join(" ").trim();
}

/** What came of `--live`. */
export function liveOf({ live }: Report): string {
  if (!live) return "not asked for";
  const { gateways, inspected, notInspected } = live;
  const not = notInspected.length === 0 ? "" : `; not inspected: ${notInspected.join("; ")}`;
  return gateways === 0
    ? "asked for; no gateway ran, and nothing was inspected"
    : `asked for; gateways: ${gateways}; sessions inspected: ${inspected}${not}`;
}

/** How many controls are in which state, those first that ask for attention. */
export function summaryOf(states: readonly ControlState[]): string {
  const order: readonly ControlState[] = ["contradicted", "found", "partial", "none", "no-data", "not-covered"];
  const counts = order.map((state) => [state, states.filter((it) => it === state).length] as const);
  return counts.flatMap(([state, count]) => (count === 0 ? [] : [`${STATE_WORDS[state]}: ${count}`])).join("; ");
}
