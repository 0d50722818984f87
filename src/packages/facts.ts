import type { EcosystemName, Naming } from "../policy/ecosystems/ecosystem.ts";
import { purlOf, samePurl } from "../policy/ecosystems/naming.ts";
import type { PackageFacts } from "../policy/package.ts";
import type { Pins } from "../policy/packages.ts";
import type { Advisories } from "./advisories/advisories.ts";
import type { Artifact, Release } from "./registry.ts";

const HOUR_MS = 3_600_000;
/** Clocks differ a little. */
const AHEAD_MS = 300_000;

export interface FactPorts {
  readonly advisories: Advisories;
  /** That the profile admits; absent when it says nothing of them. */
  readonly licenses: readonly string[] | undefined;
  /** As `profile.packages.pin` has it. */
  readonly pin: Pins;
  readonly similarTo: (ecosystem: EcosystemName, name: string) => readonly string[];
  readonly nowMs: () => number;
}

/** What the gateway knows of a release, or of one of its files, for policy. */
export function factsOf(
  naming: Naming,
  release: Release,
  artifact: Artifact | undefined,
  asked: Pick<PackageFacts, "requested" | "registry">,
  { advisories, pin, similarTo, nowMs }: FactPorts,
): PackageFacts {
  const { ecosystem } = naming;
  const { name, version } = release;
  const ageHours = hoursSince(artifact?.publishedMs ?? release.publishedMs, nowMs());
  const ranges = pin.get(samePurl(naming, name)) ?? [];
  const about = advisories.about(ecosystem, release.source?.name ?? name, release.source?.version ?? version);
  const imported = advisories.imported(ecosystem);
  const advisoriesAgeHours = imported ? hoursSince(imported.atMs, nowMs()) : undefined;
  const scope = naming.namespace(name).join("/");
  const files = artifact ? [artifact] : release.artifacts;
  return {
    purl: purlOf(naming, name, version),
    ecosystem,
    name,
    ...(scope !== "" && { scope }),
    version,
    ...asked,
    ...(ageHours !== undefined && { ageHours }),
    licenses: release.licenses ?? [],
    knownMalicious: about.some((it) => it.malicious),
    knownVulnerable: about.length > 0,
    advisories: about.map((it) => it.id),
    ...(advisoriesAgeHours !== undefined && { advisoriesAgeHours }),
    hasInstallScript: release.hasInstallScript,
    // Of a release: when nothing else is there.
    buildsFromSource: files.length > 0 && files.every((it) => it.buildsFromSource),
    yanked: release.yanked,
    verified: files.length > 0 && files.every((it) => it.integrity.length > 0),
    similarTo: similarTo(ecosystem, name),
    withinPin: ranges.every((range) => naming.satisfies(version, range)),
  };
}

/** Whole hours; `undefined` for what lies in the future, and what is no time. */
function hoursSince(atMs: number | undefined, nowMs: number): number | undefined {
  if (atMs === undefined || !Number.isFinite(atMs) || atMs > nowMs + AHEAD_MS || atMs <= 0) return undefined;
  return Math.max(0, Math.floor((nowMs - atMs) / HOUR_MS));
}
