import type { LayerName } from "./layer.ts";

/** A policy that took part in a decision: its id (`file.cedar#name`) and the text of its `@reason` annotation. */
export interface DecidingPolicy {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  readonly reason?: string;
  /** Where it stands; absent while there is one layer only. */
  readonly layer?: LayerName;
}

export interface BundleIdentity {
  readonly name: string;
  readonly version: string;
  /** `sha256:` of the bundle's files; of several layers, of their names and digests. */
  readonly digest: string;
  /** Outermost first; absent while there is one only. */
  readonly layers?: readonly LayerIdentity[];
}

export interface LayerIdentity {
  readonly layer: LayerName;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
}

/** Ways by which a person can be asked. */
export const CHANNELS = ["elicitation", "terminal", "webhook", "slack"] as const;
export type ChannelName = (typeof CHANNELS)[number];

export const OUTCOMES = ["permit", "deny", "ask"] as const;

/**
 * The answer of policy. A denial is a value, not an error. `policies` are those that determined it: empty on a default
 * deny; of `ask`, the forbids that a person may lift. `problems` are evaluation errors; any of them makes the outcome `deny`.
 */
export interface Decision {
  readonly outcome: (typeof OUTCOMES)[number];
  readonly policies: readonly DecidingPolicy[];
  readonly problems: readonly string[];
  readonly bundle: BundleIdentity;
  /** Of `ask`: the only ways that are enough; absent when any is. */
  readonly channels?: readonly ChannelName[];
  /** What those in shadow mode would have made of it, where that is something else. They decide nothing. */
  readonly shadow?: readonly ShadowDecision[];
}

export interface ShadowDecision {
  readonly would: (typeof OUTCOMES)[number];
  /** Those in shadow mode that it is due to. */
  readonly policies: readonly DecidingPolicy[];
  /** Evaluation errors of theirs. */
  readonly problems: readonly string[];
}
