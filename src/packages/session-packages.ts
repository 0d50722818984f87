import { printable } from "../lib/text.ts";
import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { Release } from "./registry.ts";

/** A file of a package that has entered the sandbox; the facts of the audit event `package-admitted`. */
export interface Admitted {
  readonly purl: string;
  readonly ecosystem: EcosystemName;
  readonly name: string;
  readonly version: string;
  readonly file: string;
  /** `host:port`. */
  readonly registry: string;
  /** As the registry promises it: `sha512-<hex>`; absent when it promises nothing. */
  readonly integrity?: string;
  /** Of the file, lower-case hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
  readonly licenses: readonly string[];
  readonly ageHours?: number;
  readonly requested: boolean;
  /** It came from the host's cache. */
  readonly cached: boolean;
}

/** The facts of `package-refused`. */
export interface Refused {
  readonly ecosystem: EcosystemName;
  readonly name: string;
  readonly version?: string;
  /** In words, with the version that would do where there is one. */
  readonly reason: string;
  readonly policies: readonly string[];
}

/** For people and models. What stands in it may come from a program of the sandbox. */
export function refusalText({ ecosystem, name, version, reason }: Omit<Refused, "policies">): string {
  const at = version === undefined ? "" : `@${printable(version, 100)}`;
  return `\`${ecosystem}:${printable(name, 214)}${at}\` blocked: ${reason}`;
}

/** A release, and whether it may enter. */
export interface Candidate {
  readonly release: Release;
  readonly verdict: Verdict;
}

/** What enters one session's sandbox from registries. */
export interface SessionPackages {
  /** Purls of what has entered, each once; of very many the latest. */
  readonly entered: readonly string[];
  /** For `since`. */
  readonly mark: number;
  /** In order; of many the latest. */
  since(mark: number): { readonly admitted: readonly Admitted[]; readonly refused: readonly Refused[] };
  /** Until disposal these are asked for by name. */
  request(ecosystem: EcosystemName, names: readonly string[]): Disposable;
  /**
   * Releases of a package with policy's word on each, the highest version first; `undefined` when the registry has no such package.
   * @throws GatewayError REGISTRY_FAILED, REGISTRY_MALFORMED
   */
  candidates(
    ecosystem: EcosystemName,
    name: string,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly Candidate[] | undefined>;
  /**
   * Asks a person about a release that policy leaves to one; what was permitted enters from then on. The verdict when there is nothing to ask.
   * @throws GatewayError REGISTRY_FAILED, AUDIT_UNWRITABLE
   */
  settle(ecosystem: EcosystemName, release: Release, signal: AbortSignal): Promise<Verdict>;
  /** Of an ecosystem that the profile permits: where programs of the sandbox find its registry. */
  base(ecosystem: EcosystemName): string | undefined;
}
