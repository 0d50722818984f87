import type { AskPerson } from "../approval/approval.ts";
import { settlingOnce } from "../approval/settle.ts";
import type { AuditWriter } from "../audit/record.ts";
import type { Logger } from "../log.ts";
import type { SendHttp } from "../packages/http.ts";
import { createSessionPackages, type PackagePorts } from "../packages/session.ts";
import { refusalText, type SessionPackages } from "../packages/session-packages.ts";
import type { Decision } from "../policy/decision.ts";
import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { type PackageFacts, packageRequest } from "../policy/package.ts";
import type { PolicyRequest } from "../policy/request.ts";
import { type PolicyQuestion, type Verdict, verdictOf } from "../policy/verdict.ts";
import type { EgressOf } from "./egress.ts";
import type { LocalSite } from "./local-site.ts";
import type { Traffic } from "./traffic.ts";

const MAX_RECORDED = 50_000;

export interface PackagesOf extends Pick<EgressOf, "sessionId" | "principal" | "callsRunning"> {
  readonly send: SendHttp;
  readonly traffic: Pick<Traffic, "refused">;
  readonly ending: AbortSignal;
  readonly ask: AskPerson;
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
  readonly decide: (request: PolicyRequest, sessionId: string) => Decision;
  readonly policyDigest: () => string;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Told of each file of a package that enters, before it does; one that comes again counts again. What it throws keeps the file out. */
  readonly onAdmitted?: (of: Pick<PackagesOf, "sessionId" | "principal">) => void;
}

/** The registries of sessions: decided by policy, and on record. */
export function packageSites({ decide, policyDigest, audit, log, onAdmitted, ...ports }: SitePorts): OpenPackages {
  return ({ sessionId, principal, callsRunning, send, traffic, ending, ask }) => {
    const knownOf = (ecosystem: EcosystemName) => {
      const imported = ports.advisories.imported(ecosystem);
      if (!imported) return {};
      return { advisories: { digest: imported.digest, importedAt: new Date(imported.atMs).toISOString() } };
    };
    /** A file that comes again is no news. */
    const recorded = new Set<string>();
    const settling = settlingOnce(ask, askedAbout);
    const decided = (facts: PackageFacts): Verdict => {
      const request = packageRequest(principal, facts);
      return settling.known(verdictOf(request, decide(request, sessionId)));
    };
    const packages = createSessionPackages({
      ...ports,
      send,
      log,
      ending,
      decide: decided,
      policyDigest: () => `${policyDigest()} ${settling.count}`,
      settle: settling.settle,
      onAdmitted: async (admitted, { policies, approvalId }) => {
        onAdmitted?.({ sessionId, principal });
        const key = `${admitted.purl} ${admitted.file} ${admitted.sha256}`;
        if (recorded.has(key)) return;
        const facts = {
          ...admitted,
          licenses: [...admitted.licenses],
          ...knownOf(admitted.ecosystem),
          policies: [...policies],
          ...(approvalId !== undefined && { approvalId }),
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

/** A version that a person has let in stays in, as long as the same policies ask and no more is known against it. */
function askedAbout({ request: { resource }, decision: { policies, bundle } }: PolicyQuestion): string {
  const askers = policies.map(({ layer, id }) => [layer, id]);
  if (resource.type !== "package") return JSON.stringify([resource, askers, bundle.digest]);
  const { purl, registry, knownMalicious, knownVulnerable, yanked, advisories } = resource.facts;
  const against = { knownMalicious, knownVulnerable, yanked, advisories: advisories.toSorted() };
  return JSON.stringify([purl, registry, against, askers, bundle.digest]);
}
