import type { ChainRead } from "./chain-read.ts";
import type { Check, CheckResult, CheckState } from "./check.ts";
import type { Control, Framework } from "./framework.ts";
import type { Gathered, Window } from "./gather.ts";

/**
 * What the log says to a control: as its checks say, `partial` where some have evidence and others have none, `not-covered` where no check
 * speaks to it.
 */
export type ControlState = CheckState | "partial" | "not-covered";

export interface ReportedCheck extends CheckResult, Pick<Check, "id" | "looksFor"> {}

export interface ReportedControl extends Control {
  readonly state: ControlState;
}

export interface ReportedFramework extends Omit<Framework, "controls" | "format"> {
  readonly controls: readonly ReportedControl[];
}

/** What came of asking gateways to inspect their sessions. */
export interface LiveInspection {
  /** That run. */
  readonly gateways: number;
  /** Sessions. */
  readonly inspected: number;
  /** Which of them, or of the gateways, were not, and why. */
  readonly notInspected: readonly string[];
  /** Something was to be seen, and nothing was. */
  readonly isBlind: boolean;
}

/** All that a report says; what it is rendered from, and its JSON form. */
export interface Report {
  readonly format: 1;
  /** RFC 3339. All else is the same for the same log. */
  readonly generatedAt: string;
  /** Glovebox's own version. */
  readonly glovebox: string;
  readonly window: { readonly since?: string; readonly until?: string };
  /** Absent when nobody asked for it. */
  readonly live?: LiveInspection;
  readonly log: {
    readonly chains: readonly ChainRead[];
    readonly records: number;
    readonly counted: number;
    /** Of the records that were read. */
    readonly from?: string;
    readonly to?: string;
    /** Whether nothing at all is wrong with it. */
    readonly verifies: boolean;
  };
  readonly policies: Gathered["policies"];
  readonly earlierPolicies: number;
  readonly checkpoints: Gathered["checkpoints"];
  /** Ids of checks that the log contradicts, of all checks. */
  readonly contradicted: readonly string[];
  readonly frameworks: readonly ReportedFramework[];
  /** Every check, whether or not a control of these frameworks asks for it. */
  readonly checks: readonly ReportedCheck[];
}

export interface ReportOptions {
  readonly generatedAt: string;
  readonly version: string;
  readonly window: Window;
  readonly live?: LiveInspection;
}

/** What was gathered, ordered by the frameworks' controls. A pure function. */
export function reportOf(
  gathered: Gathered,
  checks: readonly Check[],
  frameworks: readonly Framework[],
  { generatedAt, version, window: { sinceMs, untilMs }, live }: ReportOptions,
): Report {
  const { chains, policies, earlierPolicies, checkpoints } = gathered;
  const reported = checks.map(({ id, looksFor }) => ({ id, looksFor, ...resultOf(gathered, id) }));
  const [from] = chains.flatMap(({ first }) => first?.time ?? []).sort();
  const to = chains
    .flatMap(({ last }) => last?.time ?? [])
    .sort()
    .at(-1);
  return {
    format: 1,
    generatedAt,
    glovebox: version,
    window: {
      ...(sinceMs === undefined ? {} : { since: new Date(sinceMs).toISOString() }),
      ...(untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() }),
    },
    ...(live && { live }),
    log: {
      chains,
      records: sum(chains.map((it) => it.records)),
      counted: sum(chains.map((it) => (it.isWhole ? it.counted : 0))),
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      verifies: chains.every((it) => it.problemCount === 0),
    },
    policies,
    earlierPolicies,
    checkpoints,
    contradicted: reported.filter((it) => it.state === "contradicted").map((it) => it.id),
    frameworks: frameworks.map(({ format: _, controls, ...framework }) => ({
      ...framework,
      controls: controls.map((it) => ({
        ...it,
        state: stateOf(it.evidence.map((id) => resultOf(gathered, id).state)),
      })),
    })),
    checks: reported,
  };
}

/** Whether whoever asked must look: the log contradicts itself, or is not whole, or nothing could be inspected. */
export function needsAttention({ contradicted, log, live }: Report): boolean {
  return contradicted.length > 0 || !log.verifies || live?.isBlind === true;
}

function resultOf({ results }: Gathered, id: string): CheckResult {
  return results.get(id) ?? { state: "no-data", counts: {}, examples: [] };
}

function stateOf(states: readonly CheckState[]): ControlState {
  if (states.length === 0) return "not-covered";
  if (states.includes("contradicted")) return "contradicted";
  if (states.every((it) => it === "found")) return "found";
  if (states.includes("found")) return "partial";
  return states.every((it) => it === "no-data") ? "no-data" : "none";
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}
