import type { Release } from "../../src/packages/registry.ts";
import type { Admitted, Candidate, Refused, SessionPackages } from "../../src/packages/session-packages.ts";

/** What a session's registries have, as a test says; and what was asked of them. */
export interface FakePackages extends SessionPackages {
  readonly asked: { ecosystem: string; name: string; version: string | undefined }[];
  /** What is asked for by name at the moment. */
  readonly requested: Set<string>;
  readonly admitted: Admitted[];
  readonly refused: Refused[];
}

export function fakePackages(
  find: (name: string, version: string | undefined) => readonly Candidate[] | undefined,
  base: string | undefined = "http://packages.test/",
): FakePackages {
  const admitted: Admitted[] = [];
  const refused: Refused[] = [];
  const asked: FakePackages["asked"] = [];
  const requested = new Set<string>();
  return {
    asked,
    requested,
    admitted,
    refused,
    entered: [],
    mark: 0,
    since: () => ({ admitted, refused }),
    request: (_ecosystem, names) => {
      for (const it of names) requested.add(it);
      return {
        [Symbol.dispose]: () => {
          for (const it of names) requested.delete(it);
        },
      };
    },
    settle: async (_ecosystem, { name, version }) => {
      const found = find(name, version)?.find(({ release }) => release.version === version);
      return found?.verdict ?? { permitted: false, reason: "unknown", policies: [] };
    },
    candidates: async (ecosystem, name, version) => {
      asked.push({ ecosystem, name, version });
      return find(name, version);
    },
    base: () => base,
  };
}

/** A version, and why it is refused; permitted without a reason. */
export function candidate(name: string, version: string, reason = "", more: Partial<Release> = {}): Candidate {
  const release = { name, version, licenses: [], hasInstallScript: false, yanked: false, artifacts: [], ...more };
  const policies = reason === "" ? [] : ["packages.cedar#rule"];
  return { release, verdict: { permitted: reason === "", reason, policies } };
}
