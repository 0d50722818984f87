import type { Release } from "../packages/registry.ts";
import type { Candidate, Refused, SessionPackages } from "../packages/session-packages.ts";
import type { EcosystemName, Naming } from "../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../policy/ecosystems/naming.ts";
import { isOpen } from "../policy/verdict.ts";
import type { Wanted } from "./managers/manager.ts";
import { present } from "./render.ts";

/** Packages that are looked up at a time: the metadata of one can take many megabytes. */
const AT_ONCE = 4;

export type Choice =
  | { readonly chosen: Wanted & { readonly version: string }; readonly refused?: never; readonly asks?: Release }
  | { readonly refused: Refused; readonly chosen?: never; readonly asks?: never };

/**
 * What policy lets each package be: the version that was asked for, or the highest stable one that is permitted. What it leaves to a person
 * is asked of one.
 */
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
  const settled: Choice[] = [];
  // One after the other, and nobody is asked about what can't be installed as a whole.
  for (const choice of choices) {
    const isPointless = choices.some((it) => it.refused) || settled.some((it) => it.refused);
    settled.push(isPointless || !choice.asks ? choice : await settle(ecosystem, choice.asks, packages, signal));
  }
  return settled;
}

async function settle(
  ecosystem: EcosystemName,
  release: Release,
  packages: SessionPackages,
  signal: AbortSignal,
): Promise<Choice> {
  const { name, version } = release;
  const { permitted, reason, policies } = await packages.settle(ecosystem, release, signal);
  return permitted ? { chosen: { name, version } } : { refused: { ecosystem, name, version, reason, policies } };
}

function choose(naming: Naming, wanted: Wanted, candidates: readonly Candidate[] | undefined): Choice {
  const refuse = (reason: string, policies: readonly string[] = []): Choice => ({
    refused: { ecosystem: naming.ecosystem, ...wanted, reason, policies },
  });
  if (!candidates) return refuse("the registry has no package of this name");
  const best = bestOf(naming, candidates);
  const instead = best ? `; ${best.release.version} would do` : "";
  const take = ({ release, verdict }: Candidate): Choice => {
    const chosen = { name: wanted.name, version: release.version };
    return verdict.permitted ? { chosen } : { chosen, asks: release };
  };
  const { version } = wanted;
  if (version !== undefined) {
    const asked = candidates.find(({ release }) => release.version === version);
    if (!asked) return refuse(`the registry has no version ${version} of it${instead}`);
    const { reason, policies } = asked.verdict;
    return isOpen(asked.verdict) ? take(asked) : refuse(`${reason}${instead}`, policies);
  }
  if (best) return take(best);
  if (candidates.length === 0) return refuse("the registry has no version of it");
  const highest = candidates.find((it) => !isOpen(it.verdict));
  if (!highest) return refuse("its makers took all versions of it back; name one to have it all the same");
  const { release, verdict } = highest;
  return refuse(`no version of it is permitted; of ${release.version}: ${verdict.reason}`, verdict.policies);
}

/** What needs no person before what does; pre-releases where there is nothing else, as package managers have it; what its makers took back, never. */
function bestOf(naming: Naming, candidates: readonly Candidate[]): Candidate | undefined {
  const standing = candidates.filter(({ release }) => !release.yanked);
  const stable = standing.filter(({ release }) => !naming.isPrerelease(release.version));
  const best = stable.length > 0 ? stable : standing;
  return best.find(({ verdict }) => verdict.permitted) ?? best.find(({ verdict }) => isOpen(verdict));
}

/** For a reader: `requests 2.32.0: …`. */
export function refusalLine({ name, version, reason, policies }: Refused): string {
  const which = version === undefined ? name : `${name} ${version}`;
  return `- ${which}: ${reason}${policies.length > 0 ? ` (${policies.join(", ")})` : ""}`;
}

export function refusalResult({ name, version, reason, policies }: Refused) {
  return { name, ...present({ version }), reason, policies: [...policies] };
}
