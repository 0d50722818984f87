import type { LayerName } from "./layer.ts";
import type { LoadedPolicy } from "./load-policy.ts";
import type { MergedProfile } from "./merge-profile.ts";
import { profileSchema } from "./profile.ts";

/** A key of the profile in force, and who has set it. */
export interface EffectiveKey {
  readonly key: string;
  /** As `profile.yaml` would have it. */
  readonly value: unknown;
  readonly layer: LayerName | "default";
}

/** A policy that does something else than permit or forbid at once. */
interface EffectivePolicy {
  readonly layer: LayerName;
  readonly id: string;
  readonly reason?: string;
}

/** Every key of the profile in force, by name. What stands for Cedar policies of a layer is not among them. */
export function effectiveKeys({ profile, stated, origin }: MergedProfile): EffectiveKey[] {
  const { allow: _, groups: __, ...egress } = profileSchema.parse({}).egress;
  const { installScripts, apt } = profile.packages ?? {};
  const packages = profile.packages && { installScripts, apt: { components: apt?.components } };
  const defaults = { ...profileSchema.parse({}), egress, ...(packages && { packages }) };
  const values = new Map([...leaves(defaults, origin), ...leaves(stated, origin)]);
  return [...values]
    .map(([key, value]) => ({ key, value, layer: origin.get(key) ?? ("default" as const) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function leaves(value: unknown, origin: MergedProfile["origin"], path = ""): [string, unknown][] {
  if (value === undefined) return [];
  if (typeof value !== "object" || value === null || Array.isArray(value) || origin.has(path)) return [[path, value]];
  return Object.entries(value).flatMap(([key, below]) => leaves(below, origin, path === "" ? key : `${path}.${key}`));
}

/** Policies that ask a person, and those that are tried out: of a layer in shadow mode, all. */
export function unusualPolicies({ sources }: LoadedPolicy): { asks: EffectivePolicy[]; shadow: EffectivePolicy[] } {
  const all = sources.flatMap(({ name, bundle }) =>
    [...bundle.policies.values()].map((policy) => ({
      policy,
      isShadow: policy.mode === "shadow" || bundle.mode === "shadow",
      shown: { layer: name, id: policy.id, ...(policy.reason !== undefined && { reason: policy.reason }) },
    })),
  );
  return {
    asks: all.filter((it) => it.policy.ask && !it.isShadow).map((it) => it.shown),
    shadow: all.filter((it) => it.isShadow).map((it) => it.shown),
  };
}
