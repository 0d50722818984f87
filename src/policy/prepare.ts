import { preparsePolicySet } from "@cedar-policy/cedar-wasm/nodejs";
import type { BundlePolicy, PolicySets, Problem } from "./bundle.ts";

/** By digest, what Cedar has of the bundles that somebody holds. As much a matter of the thread as Cedar's own memory is. */
const prepared = new Map<string, WeakRef<PolicySets>>();

/** Cedar forgets nothing by itself: in place of what nobody can ask for any more it gets a set without policies, which permits nothing. */
const unheld = new FinalizationRegistry<{ readonly digest: string; readonly names: readonly string[] }>(
  ({ digest, names }) => {
    // The same bundle may have been loaded again.
    if (prepared.get(digest)?.deref()) return;
    prepared.delete(digest);
    for (const name of names) preparsePolicySet(name, { staticPolicies: {} });
  },
);

/** Has Cedar parse the sets of a bundle, under names that begin with its digest, and keep them as long as somebody holds `sets`. */
export function prepareSets(
  digest: string,
  parts: readonly BundlePolicy[],
): { sets: PolicySets; problems: readonly Problem[] } {
  const known = prepared.get(digest)?.deref();
  if (known) return { sets: known, problems: [] };
  const problems: Problem[] = [];
  const prepare = (name: string, chosen: readonly BundlePolicy[]) => {
    const parsed = preparsePolicySet(name, {
      staticPolicies: Object.fromEntries(chosen.map((it) => [it.id, it.text])),
    });
    if (parsed.type === "failure") {
      problems.push(...parsed.errors.map((it) => ({ file: "(bundle)", message: it.message })));
    }
    return name;
  };
  const enforced = parts.filter((it) => it.mode === "enforce");
  const asks = enforced.some((it) => it.ask);
  const sets: PolicySets = {
    enforced: prepare(digest, enforced),
    ...(asks && {
      withoutAsks: prepare(
        `${digest}-without-asks`,
        enforced.filter((it) => !it.ask),
      ),
    }),
    ...(enforced.length < parts.length && { withShadows: prepare(`${digest}-with-shadows`, parts) }),
  };
  if (problems.length === 0) {
    prepared.set(digest, new WeakRef(sets));
    unheld.register(sets, { digest, names: Object.values(sets) });
  }
  return { sets, problems };
}
