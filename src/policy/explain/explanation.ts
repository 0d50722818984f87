import type { Bundle } from "../bundle.ts";
import { decide } from "../decide.ts";
import type { BundleIdentity, DecidingPolicy, Decision, ShadowDecision } from "../decision.ts";
import { evaluate } from "../evaluate.ts";
import type { LayerName, Policy, PolicyLayer } from "../layer.ts";
import type { PolicyRequest } from "../request.ts";

/** A policy with its place in its bundle. */
export interface PlacedPolicy extends DecidingPolicy {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

/** What one layer makes of a request by itself. */
export interface LayerDecision {
  readonly layer: LayerName;
  /** Where it was read from, for people. */
  readonly origin: string;
  readonly bundle: BundleIdentity;
  /** `shadow`: what it decides is recorded, and decides nothing. */
  readonly mode: "enforce" | "shadow";
  readonly outcome: Decision["outcome"];
  readonly policies: readonly PlacedPolicy[];
  readonly problems: readonly string[];
  readonly shadow: readonly ShadowDecision[];
}

/** What policy sees of a call, and what becomes of it: in all, and layer by layer. */
export interface PolicyExplanation {
  readonly request: PolicyRequest;
  readonly decision: Decision;
  /** Outermost first, those in shadow mode last. */
  readonly layers: readonly LayerDecision[];
}

/** Pure, like `decide`. */
export function explanationOf(policy: Policy, request: PolicyRequest): PolicyExplanation {
  return { request, decision: decide(policy, request), layers: layerDecisions(policy, request) };
}

export function layerDecisions({ layers, shadows }: Policy, request: PolicyRequest): readonly LayerDecision[] {
  return [...layers, ...shadows].map((layer) => layerDecision(layer, request));
}

function layerDecision({ name, bundle, origin }: PolicyLayer, request: PolicyRequest): LayerDecision {
  const { outcome, policies, problems, shadow = [] } = evaluate(bundle, request);
  const { mode, identity } = bundle;
  const placed = policies.map((it) => placedPolicy(bundle, it));
  return { layer: name, origin, bundle: identity, mode, outcome, policies: placed, problems, shadow };
}

function placedPolicy({ policies }: Bundle, policy: DecidingPolicy): PlacedPolicy {
  const { file, line } = policies.get(policy.id) ?? { file: "(bundle)", line: 1 };
  return { ...policy, file, line };
}
