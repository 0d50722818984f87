import canonicalize from "canonicalize";
import type { LoadedBundle } from "../assemble.ts";
import type { PolicyTest } from "../tests.ts";
import { diffPolicies, type PolicyDiff } from "./policies.ts";
import { diffProfiles, type KeyDiff } from "./profile.ts";

export interface NamesDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface BundleDiff {
  /** Keys of bundle.yaml. */
  readonly bundle: readonly KeyDiff[];
  /** Without those that the profile stands for: the profile says it. */
  readonly policies: readonly PolicyDiff[];
  readonly profile: readonly KeyDiff[];
  /** By name. */
  readonly tests: NamesDiff & { readonly changed: readonly string[] };
  /** That a policy permits connections to. */
  readonly hosts: NamesDiff;
}

/** What means something else in the second bundle. `hostsOf`: those that a bundle grants. */
export function diffBundles(
  before: LoadedBundle,
  after: LoadedBundle,
  hostsOf: (bundle: LoadedBundle) => readonly string[],
): BundleDiff {
  return {
    bundle: manifest(before, after),
    policies: diffPolicies(ownPolicies(before), ownPolicies(after)),
    profile: diffProfiles(before.profile, after.profile),
    tests: diffTests(before.written.tests, after.written.tests),
    hosts: names(hostsOf(before), hostsOf(after)),
  };
}

export function isSame({ bundle, policies, profile, tests, hosts }: BundleDiff): boolean {
  const lists = [bundle, policies, profile, tests.added, tests.removed, tests.changed, hosts.added, hosts.removed];
  return lists.every((it) => it.length === 0);
}

function manifest(before: LoadedBundle, after: LoadedBundle): KeyDiff[] {
  const keysOf = ({ identity: { name, version }, layer, narrows, mode }: LoadedBundle) => ({
    name,
    version,
    layer,
    narrows,
    mode,
  });
  const [old, now] = [keysOf(before), keysOf(after)];
  return (["name", "version", "layer", "narrows", "mode"] as const).flatMap((key): KeyDiff[] => {
    const [from, to] = [old[key], now[key]];
    if (from === to) return [];
    const effect = key === "mode" ? { effect: to === "shadow" ? ("wider" as const) : ("narrower" as const) } : {};
    return [{ key, ...(from !== undefined && { from }), ...(to !== undefined && { to }), ...effect }];
  });
}

function ownPolicies({ policies, written }: LoadedBundle): ReadonlyMap<string, string> {
  return new Map([...written.policies].filter(([id]) => policies.get(id)?.file !== "profile.yaml"));
}

function diffTests(before: readonly PolicyTest[], after: readonly PolicyTest[]): BundleDiff["tests"] {
  const old = Map.groupBy(before, (it) => it.name);
  const now = Map.groupBy(after, (it) => it.name);
  const changed = [...now].filter(([name, its]) => old.has(name) && canonicalize(old.get(name)) !== canonicalize(its));
  return { ...names([...old.keys()], [...now.keys()]), changed: changed.map(([name]) => name) };
}

function names(before: readonly string[], after: readonly string[]): NamesDiff {
  return { added: after.filter((it) => !before.includes(it)), removed: before.filter((it) => !after.includes(it)) };
}
