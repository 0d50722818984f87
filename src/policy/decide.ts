import { createHash } from "node:crypto";
import { GatewayError } from "../errors.ts";
import { prepared } from "./authorize.ts";
import { type Bundle, enforcedPolicies, type PolicySets } from "./bundle.ts";
import type { DecidingPolicy, Decision, ShadowDecision } from "./decision.ts";
import { canEverPermit as bundleCanEverPermit, decided, deciding, evaluate } from "./evaluate.ts";
import type { Policy, PolicyLayer } from "./layer.ts";
import { prepareSets } from "./prepare.ts";
import type { Profile } from "./profile.ts";
import type { PolicyRequest } from "./request.ts";
import { OWN_VOCABULARY } from "./vocabulary.ts";

/** What the layers come to together. @throws GatewayError INTERNAL when their policies can't be parsed together */
export function policyOf(layers: readonly PolicyLayer[], profile: Profile): Policy {
  const enforced = layers.filter(({ bundle }) => bundle.mode === "enforce");
  const shadows = layers.filter(({ bundle }) => bundle.mode === "shadow");
  const identity = identityOf(layers);
  const { vocabulary = OWN_VOCABULARY } = layers[0]?.bundle ?? {};
  return { identity, layers: enforced, shadows, profile, sets: setsOf(enforced, identity.digest), vocabulary };
}

/** Of several layers, with ids that begin with the layer's number. */
function setsOf(layers: readonly PolicyLayer[], digest: string): PolicySets {
  const [first, ...others] = layers;
  if (first && others.length === 0) return first.bundle.sets;
  const parts = layers.flatMap(({ bundle }, index) =>
    enforcedPolicies(bundle).map((it) => ({ ...it, id: `${index}:${it.id}` })),
  );
  const { sets, problems } = prepareSets(digest, parts);
  if (problems.length === 0) return sets;
  throw new GatewayError("INTERNAL", problems.map((it) => it.message).join("; "));
}

/** A bundle that is all there is. */
export function alone(bundle: Bundle, origin: string): Policy {
  return policyOf([{ name: "user", bundle, origin }], bundle.profile);
}

/**
 * The decisions of all layers together: one that denies denies, one that asks asks, and only what all of them permit is permitted, so that no
 * layer can widen what another leaves. Pure, like `evaluate`.
 */
export function decide(policy: Policy, request: PolicyRequest): Decision {
  const { layers, shadows, identity, sets } = policy;
  const asked = prepared(request, policy.vocabulary);
  if ("problems" in asked) return { outcome: "deny", policies: [], problems: asked.problems, bundle: identity };
  const isAlone = layers.length + shadows.length === 1;
  const find = (id: string) => {
    const [, index = "0", own = id] = layers.length === 1 ? [] : (/^(\d+):(.*)$/s.exec(id) ?? []);
    const layer = layers[Number(index)];
    const found = layer?.bundle.policies.get(own);
    const decider = deciding(own, found);
    return {
      policy: found,
      layer: Number(index),
      decider: isAlone || !layer ? decider : { ...decider, layer: layer.name },
    };
  };
  const ruling = decided({ sets, layers: layers.length, find }, asked.request);
  const { outcome } = ruling;
  const would = shadowsOf(policy, request, outcome).filter((it) => it.would !== outcome);
  const problems = ruling.problems.map((it) => it.replace(/^(\d+):/, (_, at) => `${layers[Number(at)]?.name ?? at}: `));
  const shown = layers.length === 1 ? ruling.problems : problems;
  return { ...ruling, problems: shown, bundle: identity, ...(would.length > 0 && { shadow: would }) };
}

/** What would become of the whole: a layer that would permit permits nothing that another denies. */
function shadowsOf(
  { layers, shadows }: Policy,
  request: PolicyRequest,
  outcome: Decision["outcome"],
): readonly ShadowDecision[] {
  const isAlone = layers.length + shadows.length === 1;
  const whole = shadows.flatMap((layer) =>
    shadowLayer(layer, request).map((it) => ({ ...it, would: strictest([outcome, it.would]) })),
  );
  if (layers.every(({ bundle }) => bundle.sets.withShadows === undefined)) return whole;
  const decisions = layers.map((layer) => ({ layer, decision: evaluate(layer.bundle, request) }));
  const outcomes = decisions.map((it) => it.decision.outcome);
  const single = decisions.flatMap(({ layer, decision }, index) =>
    (decision.shadow ?? []).map((it) => ({
      ...it,
      would: strictest(outcomes.with(index, it.would)),
      policies: named(it.policies, layer, isAlone),
    })),
  );
  return [...single, ...whole];
}

function strictest(outcomes: readonly Decision["outcome"][]): Decision["outcome"] {
  if (outcomes.includes("deny")) return "deny";
  return outcomes.includes("ask") ? "ask" : "permit";
}

/** Whether a request for this tool could be permitted; `false` is certain, and the tool need not be shown. */
export function canEverPermit({ layers }: Policy, action: string): boolean {
  return layers.every(({ bundle }) => bundleCanEverPermit(bundle, action));
}

function named(
  policies: readonly DecidingPolicy[],
  { name }: PolicyLayer,
  isAlone: boolean,
): readonly DecidingPolicy[] {
  return isAlone ? policies : policies.map((it) => ({ ...it, layer: name }));
}

/** A layer in shadow mode, as if it decided. */
function shadowLayer(layer: PolicyLayer, request: PolicyRequest): ShadowDecision[] {
  const { outcome, policies, problems } = evaluate(layer.bundle, request);
  return outcome === "permit" ? [] : [{ would: outcome, policies: named(policies, layer, false), problems }];
}

function identityOf(layers: readonly PolicyLayer[]): Policy["identity"] {
  const [first, ...others] = layers;
  if (first && others.length === 0) return first.bundle.identity;
  const identities = layers.map(({ name: layer, bundle }) => {
    const { name, version, digest } = bundle.identity;
    return { layer, name, version, digest };
  });
  const digest = createHash("sha256").update(JSON.stringify(identities)).digest("hex");
  const joined = (of: "name" | "version") => identities.map((it) => it[of]).join("+");
  return { name: joined("name"), version: joined("version"), digest: `sha256:${digest}`, layers: identities };
}
