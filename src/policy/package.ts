import { GatewayError } from "../errors.ts";
import type { EcosystemName } from "./ecosystems/ecosystem.ts";
import type { PolicyRequest, Principal } from "./request.ts";

/** The action of the tool, and of every package that is on its way into a sandbox. */
export const INSTALL_PACKAGE = "installPackage";

/** One version of a package as policy sees it: attributes of the resource. */
export interface PackageFacts {
  /** With the version: `pkg:npm/%40acme/x@1.0.0`. */
  readonly purl: string;
  readonly ecosystem: EcosystemName;
  readonly name: string;
  /** All but the name's last part, joined by `/`: `@acme`, `github.com/google`. */
  readonly scope?: string;
  readonly version: string;
  /** Whether the running `installPackage` call asks for it by name; else something else needs it, or a program fetches it. */
  readonly requested: boolean;
  /** Whole hours since it was published; absent when the registry doesn't say, or says what can't be. */
  readonly ageHours?: number;
  /** Licences of which one suffices, as SPDX writes them; empty when the metadata has none. */
  readonly licenses: readonly string[];
  readonly knownMalicious: boolean;
  readonly knownVulnerable: boolean;
  /** Ids of the advisories about this version. */
  readonly advisories: readonly string[];
  /** Whole hours since the advisories were imported last; absent when there are none of this ecosystem. */
  readonly advisoriesAgeHours?: number;
  /** It runs a program of its own when it is installed. */
  readonly hasInstallScript: boolean;
  /** What is installed is built from its source, by its own program (pip: an sdist). */
  readonly buildsFromSource: boolean;
  readonly yanked: boolean;
  /** The registry gives a digest, by which what comes is checked. */
  readonly verified: boolean;
  /** Popular packages whose name is one edit away from this one's. */
  readonly similarTo: readonly string[];
  /** Whether it lies in the range that the profile pins it to; true when there is no pin. */
  readonly withinPin: boolean;
  /** `host:port`. */
  readonly registry: string;
}

export function packageRequest(principal: Principal, facts: PackageFacts): PolicyRequest {
  const { purl, ecosystem } = facts;
  return {
    principal,
    action: INSTALL_PACKAGE,
    resource: { type: "package", facts },
    context: { ecosystem, packages: [purl] },
  };
}

/**
 * What a purl with a version lies in: the package, what its name stands below, nearest first, and the ecosystem. All but the version is
 * cut at slashes, in which names are percent-encoded (github.com/package-url/purl-spec).
 * @throws GatewayError INTERNAL for what is no purl with a version: it would lie in nothing, and no forbid would find it
 */
export function purlAncestors(purl: string): string[] {
  const [, whole = ""] = /^(pkg:[a-z]+(?:\/[^/@?#]+)+)@[^/@?#]+$/.exec(purl) ?? [];
  if (whole === "") throw new GatewayError("INTERNAL", "a package is not in its one spelling");
  const ancestors: string[] = [];
  for (let at = whole.length; at > 0; at = whole.lastIndexOf("/", at - 1)) ancestors.push(whole.slice(0, at));
  return ancestors;
}
