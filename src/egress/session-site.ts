import type { AuditWriter } from "../audit/record.ts";
import type { Logger } from "../log.ts";
import type { SendHttp } from "../packages/http.ts";
import { createSessionPackages, type PackagePorts } from "../packages/session.ts";
import { refusalText, type SessionPackages } from "../packages/session-packages.ts";
import type { Decision } from "../policy/decision.ts";
import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { packageRequest } from "../policy/package.ts";
import type { PolicyRequest } from "../policy/request.ts";
import type { EgressOf } from "./egress.ts";
import { verdictOf } from "./gate.ts";
import type { LocalSite } from "./local-site.ts";
import type { Traffic } from "./traffic.ts";

const MAX_RECORDED = 50_000;

export interface PackagesOf extends Pick<EgressOf, "sessionId" | "principal" | "callsRunning"> {
  readonly send: SendHttp;
  readonly traffic: Pick<Traffic, "refused">;
  readonly ending: AbortSignal;
}

export interface PackageSite {
  readonly packages: SessionPackages;
  readonly site: LocalSite;
  readonly environment: Readonly<Record<string, string>>;
}

export type OpenPackages = (of: PackagesOf) => PackageSite;

export interface SitePorts
  extends Pick<
    PackagePorts,
    "registries" | "sources" | "cache" | "advisories" | "licenses" | "pin" | "similarTo" | "nowMs"
  > {
  readonly decide: (request: PolicyRequest) => Decision;
  readonly audit: AuditWriter;
  readonly log: Logger;
}

/** The registries of sessions: decided by policy, and on record. */
export function packageSites({ decide, audit, log, ...ports }: SitePorts): OpenPackages {
  return ({ sessionId, principal, callsRunning, send, traffic, ending }) => {
    const knownOf = (ecosystem: EcosystemName) => {
      const imported = ports.advisories.imported(ecosystem);
      if (!imported) return {};
      return { advisories: { digest: imported.digest, importedAt: new Date(imported.atMs).toISOString() } };
    };
    /** A file that comes again is no news. */
    const recorded = new Set<string>();
    const packages = createSessionPackages({
      ...ports,
      send,
      log,
      ending,
      decide: (facts) => verdictOf(decide(packageRequest(principal, facts))),
      onAdmitted: async (admitted, { policies }) => {
        const key = `${admitted.purl} ${admitted.file} ${admitted.sha256}`;
        if (recorded.has(key)) return;
        const facts = {
          ...admitted,
          licenses: [...admitted.licenses],
          ...knownOf(admitted.ecosystem),
          policies: [...policies],
          calls: [...callsRunning()],
        };
        await audit.append({ kind: "event", event: "package-admitted", sessionId, facts });
        if (recorded.size < MAX_RECORDED) recorded.add(key);
      },
      onRefused: (refused) => {
        const { ecosystem, policies } = refused;
        traffic.refused("package-refused", refusalText(refused), {
          ...refused,
          policies: [...policies],
          ...knownOf(ecosystem),
        });
      },
    });
    const site: LocalSite = {
      ready: packages.ready,
      claims: packages.claims,
      answer: (target, asked, signal) => {
        const { scheme, host, port, path } = target;
        const url = new URL(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}${path}`);
        return packages.answer(url, asked, signal);
      },
    };
    return { packages, site, environment: packages.environment };
  };
}
