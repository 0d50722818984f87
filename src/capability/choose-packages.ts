import type { Release } from "../packages/registry.ts";
import type { Candidate, Refused, SessionPackages } from "../packages/session-packages.ts";
import type { EcosystemName, Naming } from "../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../policy/ecosystems/naming.ts";
import type { Wanted } from "./managers/manager.ts";
import { present } from "./render.ts";

/** Packages that are looked up at a time: the metadata of one can take many megabytes. */
const AT_ONCE = 4;

export type Choice =
  | { readonly chosen: Wanted & { readonly version: string }; readonly refused?: never }
  | { readonly refused: Refused; readonly chosen?: never };

/** What policy lets each package be: the version that was asked for, or the highest stable one that is permitted. */
export async function choosePackages(
  ecosystem: EcosystemName,
  wanted: readonly Wanted[],
  { packages, signal }: { readonly packages: SessionPackages; readonly signal: AbortSignal },
): Promise<readonly Choice[]> {
  const choices: Choice[] = [];
  for (let first = 0; first < wanted.length; first += AT_ONCE) {
    const looks = wanted.slice(first, first + AT_ONCE).map(async (it) => {
      const candidates = await packages.candidates(ecosystem, it.name, it.version, signal);
      return choose(namingOf(ecosystem), it, candidates);
    });
    choices.push(...(await Promise.all(looks)));
  }
  return choices;
}

function choose(naming: Naming, wanted: Wanted, candidates: readonly Candidate[] | undefined): Choice {
  const refuse = (reason: string, policies: readonly string[] = []): Choice => ({
    refused: { ecosystem: naming.ecosystem, ...wanted, reason, policies },
  });
  if (!candidates) return refuse("the registry has no package of this name");
  const best = bestOf(naming, candidates);
  const instead = best ? `; ${best.version} would do` : "";
  const { version } = wanted;
  if (version !== undefined) {
    const asked = candidates.find(({ release }) => release.version === version);
    if (!asked) return refuse(`the registry has no version ${version} of it${instead}`);
    const { permitted, reason, policies } = asked.verdict;
    return permitted ? { chosen: { name: wanted.name, version } } : refuse(`${reason}${instead}`, policies);
  }
  if (best) return { chosen: { name: wanted.name, version: best.version } };
  if (candidates.length === 0) return refuse("the registry has no version of it");
  const highest = candidates.find((it) => !it.verdict.permitted);
  if (!highest) return refuse("its makers took all versions of it back; name one to have it all the same");
  const { release, verdict } = highest;
  return refuse(`no version of it is permitted; of ${release.version}: ${verdict.reason}`, verdict.policies);
}

/** Pre-releases where there is nothing else, as package managers have it; what its makers took back, never. */
function bestOf(naming: Naming, candidates: readonly Candidate[]): Release | undefined {
  const standing = candidates.filter(({ release }) => !release.yanked);
  const stable = standing.filter(({ release }) => !naming.isPrerelease(release.version));
  return (stable.length > 0 ? stable : standing).find(({ verdict }) => verdict.permitted)?.release;
}

/** For a reader: `requests 2.32.0: …`. */
export function refusalLine({ name, version, reason, policies }: Refused): string {
  const which = version === undefined ? name : `${name} ${version}`;
  return `- ${which}: ${reason}${policies.length > 0 ? ` (${policies.join(", ")})` : ""}`;
}

export function refusalResult({ name, version, reason, policies }: Refused) {
  return { name, ...present({ version }), reason, policies: [...policies] };
}
