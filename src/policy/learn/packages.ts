import type { EcosystemName } from "../ecosystems/ecosystem.ts";
import type { PackageFacts } from "../package.ts";
import { readPackagePattern } from "../package-pattern.ts";
import { MINIMUM_AGE_HOURS } from "../packages.ts";
import type { PastDecision } from "../past.ts";
import { grouped, type LeftOut, unique } from "./rule.ts";

/** `packages` of a profile: those that entered, by name, and only as young as they were. */
export interface LearnedPackages {
  readonly allow: readonly string[];
  readonly minimumAgeHours: Readonly<Record<string, number>>;
  readonly unverified: "allow" | "deny";
}

export function learnPackages(decisions: readonly PastDecision[]): {
  readonly packages: LearnedPackages | undefined;
  readonly ecosystems: ReadonlySet<EcosystemName>;
  readonly leftOut: readonly LeftOut[];
} {
  const leftOut: LeftOut[] = [];
  const known: PackageFacts[] = [];
  for (const decision of decisions) {
    const { resource } = decision.request;
    if (resource.type !== "package") continue;
    const read = readPackagePattern(`${resource.facts.ecosystem}:${resource.facts.name}`);
    if ("pattern" in read) known.push(resource.facts);
    else leftOut.push({ decision, why: "it has no name that a profile could have" });
  }
  if (known.length === 0) return { packages: undefined, ecosystems: new Set(), leftOut };
  const ages = grouped(known, (it) => it.ecosystem).flatMap(([ecosystem, its]): [string, number][] => {
    // Of unknown age counts as new.
    const youngest = Math.min(...its.map((it) => it.ageHours ?? 0));
    return youngest < MINIMUM_AGE_HOURS ? [[ecosystem, youngest]] : [];
  });
  const packages: LearnedPackages = {
    allow: unique(known.map((it) => `${it.ecosystem}:${it.name}`)),
    minimumAgeHours: { default: MINIMUM_AGE_HOURS, ...Object.fromEntries(ages) },
    unverified: known.every((it) => it.verified) ? "deny" : "allow",
  };
  return { packages, ecosystems: new Set(known.map((it) => it.ecosystem)), leftOut };
}
