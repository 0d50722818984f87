import { answerOf, type CedarRequest, prepared } from "./authorize.ts";
import { type Bundle, type BundlePolicy, enforcedPolicies, type PolicySets } from "./bundle.ts";
import { CHANNELS, type DecidingPolicy, type Decision, type ShadowDecision } from "./decision.ts";
import type { PolicyRequest } from "./request.ts";

/**
 * Decides a request by a bundle: a pure function of both, without clock or I/O. Cedar denies by default and lets a forbid override
 * every permit; it also *skips* a policy that fails to evaluate, so that here any error, warning or exception denies.
 */
export function evaluate(bundle: Bundle, request: PolicyRequest): Decision {
  const { identity, sets, policies } = bundle;
  const asked = prepared(request, bundle.vocabulary);
  if ("problems" in asked) return { outcome: "deny", policies: [], problems: asked.problems, bundle: identity };
  const find = (id: string) => ({ policy: policies.get(id), layer: 0, decider: deciding(id, policies.get(id)) });
  const enforced = decided({ sets, layers: 1, find }, asked.request);
  const shadow = shadowOf(bundle, enforced.outcome, asked.request);
  return { ...enforced, bundle: identity, ...(shadow && { shadow: [shadow] }) };
}

/** Whether a request for this tool could be permitted; `false` is certain, and the tool need not be shown. */
export function canEverPermit(bundle: Bundle, action: string): boolean {
  const applicable = enforcedPolicies(bundle).filter((it) => it.actions.has(action));
  const always = applicable.some((it) => it.effect === "forbid" && it.unconditional && !it.ask);
  return !always && applicable.some((it) => it.effect === "permit");
}

/** Policies of one or more layers, parsed together. */
export interface Ruling {
  readonly sets: PolicySets;
  /** How many there are; each has to permit. */
  readonly layers: number;
  /** What an id of the sets stands for; `layer` counts from 0. */
  readonly find: (id: string) => {
    readonly policy: BundlePolicy | undefined;
    readonly layer: number;
    readonly decider: DecidingPolicy;
  };
}

/**
 * All layers' policies in one evaluation. Cedar names every forbid that applies, or, where there is none, every permit: so a layer without a
 * permit among them denies by default. A denial that is due to nothing but forbids that ask, of what every layer permits without them, is a
 * question.
 */
export function decided(
  { sets, layers, find }: Ruling,
  request: CedarRequest,
): Pick<Decision, "outcome" | "policies" | "problems" | "channels"> {
  const { allowed, reasons, problems } = answerOf(sets.enforced, request);
  const found = reasons.map(find);
  const policies = found.map((it) => it.decider);
  if (problems.length > 0) return { outcome: "deny", policies: [], problems };
  if (allowed) return byEach(layers, found) ? { outcome: "permit", policies, problems } : DEFAULT_DENY;
  const asks = found.map((it) => it.policy?.ask);
  if (sets.withoutAsks === undefined || reasons.length === 0) return { outcome: "deny", policies, problems };
  const hard = found.filter((it) => it.policy?.ask === undefined);
  if (hard.length > 0) return { outcome: "deny", policies: hard.map((it) => it.decider), problems };
  const otherwise = answerOf(sets.withoutAsks, request);
  const without = otherwise.reasons.map(find);
  if (!otherwise.allowed) {
    return { outcome: "deny", policies: without.map((it) => it.decider), problems: otherwise.problems };
  }
  if (!byEach(layers, without)) return DEFAULT_DENY;
  const channels = CHANNELS.filter((it) => asks.every((enough) => enough?.includes(it)));
  return { outcome: "ask", policies, problems, ...(channels.length < CHANNELS.length && { channels }) };
}

const DEFAULT_DENY = { outcome: "deny", policies: [], problems: [] } as const;

/** Whether each layer has a permit among them. */
function byEach(layers: number, permits: readonly { readonly layer: number }[]): boolean {
  // INVARIANT: without a layer nothing is permitted.
  return layers > 0 && new Set(permits.map((it) => it.layer)).size === layers;
}

/** What the policies in shadow mode would make of a request that is decided otherwise without them. */
function shadowOf(bundle: Bundle, outcome: Decision["outcome"], request: CedarRequest): ShadowDecision | undefined {
  const { withShadows } = bundle.sets;
  if (withShadows === undefined) return undefined;
  const { allowed, reasons, problems } = answerOf(withShadows, request);
  if (problems.length > 0) return { would: "deny", policies: [], problems };
  const due = reasons.flatMap((id) => {
    const policy = bundle.policies.get(id);
    return policy?.mode === "shadow" ? [policy] : [];
  });
  const would = allowed ? "permit" : due.every((it) => it.ask) ? "ask" : "deny";
  if (due.length === 0 || would === outcome || (outcome === "deny" && !allowed)) return undefined;
  return { would, policies: due.map((it) => deciding(it.id, it)), problems };
}

export function deciding(id: string, policy: BundlePolicy | undefined): DecidingPolicy {
  const { effect = "forbid", reason } = policy ?? {};
  return { id, effect, ...(reason === undefined ? {} : { reason }) };
}
