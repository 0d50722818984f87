import { join } from "node:path";
import type { Approvals } from "./approval/approval.ts";
import type { AuditWriter } from "./audit/record.ts";
import type { Accounts } from "./budget/accounts.ts";
import { type Config, PACKAGE_ROOT } from "./config.ts";
import { createSecrets } from "./egress/secret-cache.ts";
import { createSessionEgress } from "./egress/session-egress.ts";
import { type OpenPackages, packageSites } from "./egress/session-site.ts";
import type { TunnelThrough } from "./egress/upstream-proxy.ts";
import { hostArchitecture, readRecipe } from "./image/recipe.ts";
import type { ImageStore } from "./image/store.ts";
import { once } from "./lib/once.ts";
import type { Logger } from "./log.ts";
import { openAdvisories } from "./packages/advisories/store.ts";
import { openPackageCache } from "./packages/cache/disk-cache.ts";
import { packageRegistries } from "./packages/ecosystems/ecosystems.ts";
import { readSimilar } from "./packages/popular.ts";
import { goChecksums } from "./packages/sources/registries.ts";
import { readSources } from "./packages/sources/sources.ts";
import type { EcosystemName } from "./policy/ecosystems/ecosystem.ts";
import { namingOf } from "./policy/ecosystems/naming.ts";
import type { Policy, PolicyInForce } from "./policy/layer.ts";
import { mayPermitPackages } from "./policy/package-scope.ts";
import type { Packages } from "./policy/packages.ts";
import type { Admission } from "./session/admission.ts";
import { createPool } from "./session/pool.ts";
import { openSandbox, restoreSandbox, type SandboxPorts } from "./session/sandbox.ts";
import type { SessionKit } from "./session/sessions.ts";

const PACKAGE_CACHE_BYTES = 8 * 1024 * 1024 * 1024;

export interface KitPorts {
  readonly config: Config;
  readonly images: ImageStore;
  readonly sandbox: Omit<SandboxPorts, "domain">;
  readonly admission: Admission;
  readonly policy: PolicyInForce;
  readonly accounts: Accounts;
  readonly approvals: Approvals;
  readonly authorities: () => Promise<readonly string[]>;
  readonly upstreamProxy: TunnelThrough | undefined;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Aborts when the gateway ends. */
  /** Is told of every value of a secret that was read, before it is used. */
  readonly onSecret: (name: string, value: string) => void;
  readonly ending: AbortSignal;
}

/** What sessions are made with under one policy. Disposal ends what waits ready; sessions that were opened with it go on. */
export interface Kit extends SessionKit, AsyncDisposable {}

/** Makes kits; what they share is opened for the first that needs it, and closed with this. */
export interface Kits extends AsyncDisposable {
  make(policy: Policy): Promise<Kit>;
}

export function createKits(ports: KitPorts): Kits {
  const { config, images, admission, accounts, approvals, authorities, upstreamProxy, audit, log } = ports;
  const owned = new AsyncDisposableStack();
  const stores = once(async () => ({
    cache: owned.use(
      await openPackageCache({ directory: config.packageCacheDirectory, maxBytes: PACKAGE_CACHE_BYTES, log }),
    ),
    advisories: owned.use(openAdvisories(config.advisoriesFile, namingOf)),
  }));

  async function packagesOf(packages: Packages): Promise<OpenPackages> {
    const [{ suite }, sumdb, similarTo, shared] = await Promise.all([
      readRecipe(join(PACKAGE_ROOT, "guest")),
      goChecksums(),
      readSimilar(),
      stores(),
    ]);
    const mayPermit = (ecosystem: EcosystemName) => mayPermitPackages(ports.policy.current, ecosystem);
    const facts = { suite, architecture: hostArchitecture().debian, sumdb, mayPermit };
    return packageSites({
      registries: packageRegistries(packages, facts),
      sources: once(() => readSources(packages)),
      ...shared,
      licenses: packages.licenses,
      pin: packages.pin,
      similarTo,
      nowMs: Date.now,
      decide: accounts.decide,
      onAdmitted: ({ principal, sessionId }) => accounts.package({ principalId: principal.id, sessionId }),
      policyDigest: () => ports.policy.current.identity.digest,
      audit,
      log,
    });
  }

  return {
    make: async ({ identity, profile }) => {
      const sandboxPorts = { ...ports.sandbox, domain: identity.name };
      const secrets = createSecrets(profile.secrets, {
        signal: ports.ending,
        onFailure: (error) => log.warn({ err: error }, "a secret was not read"),
        onValue: ports.onSecret,
      });
      const openPackages = profile.packages && (await packagesOf(profile.packages));
      const pool = createPool({
        openSandbox: (options) => openSandbox(profile, sandboxPorts, options),
        isCurrent: async ({ imageDigest }) => (await images.find(profile.image)).digest === imageDigest,
        admission,
        log,
        maxSpares: config.spares,
      });
      return {
        profile,
        openSandbox: pool.open,
        restoreSandbox: async (saved, options) => {
          using _place = await admission.admit(options);
          return await restoreSandbox(profile, sandboxPorts, saved, options);
        },
        openEgress: (of) => {
          const ways = { ...(upstreamProxy && { upstreamProxy }), ...(openPackages && { openPackages }) };
          const { decide } = accounts;
          const shared = { policy: ports.policy, profile, secrets, decide, approvals, authorities, audit, log };
          return createSessionEgress(
            {
              ...shared,
              ...ways,
              onBytes: ({ principal, sessionId }, bytes) =>
                accounts.egress({ principalId: principal.id, sessionId }, bytes),
            },
            of,
          );
        },
        [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
