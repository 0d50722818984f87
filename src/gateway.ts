import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type AuditLog, openAuditLog } from "./audit/log.ts";
import { type CallPorts, type CallRequest, type CallResult, call } from "./call/call.ts";
import { describeCall } from "./call/describe.ts";
import { CAPABILITIES, findCapability } from "./capability/registry.ts";
import { type Config, PACKAGE_ROOT, VERSION } from "./config.ts";
import { agentContainer } from "./container/agent-container.ts";
import { hardenedOptions } from "./container/hardening.ts";
import { readAuthorities } from "./egress/authorities.ts";
import { grantsOf } from "./egress/gate.ts";
import { createSecrets } from "./egress/secret-cache.ts";
import { secretProblem } from "./egress/secret-probe.ts";
import { createSessionEgress } from "./egress/session-egress.ts";
import { type OpenPackages, packageSites, type SitePorts } from "./egress/session-site.ts";
import { tunnelThrough } from "./egress/upstream-proxy.ts";
import { attest, readHostBootId } from "./engine/attest.ts";
import type { Engine } from "./engine/engine.ts";
import { endMachineProcess } from "./engine/qemu/machine-process.ts";
import { createQemuEngine } from "./engine/qemu/qemu.ts";
import { asGatewayError, GatewayError } from "./errors.ts";
import { hostArchitecture, readRecipe } from "./image/recipe.ts";
import { openImageStore } from "./image/store.ts";
import { newId } from "./lib/id.ts";
import { userName } from "./lib/user.ts";
import { createLog, type Logger } from "./log.ts";
import { instructions } from "./mcp/instructions.ts";
import type { ServerPorts } from "./mcp/server.ts";
import { createMounts } from "./mounts/mounts.ts";
import { openAdvisories } from "./packages/advisories/store.ts";
import { openPackageCache } from "./packages/cache/disk-cache.ts";
import { packageRegistries, type RegistryFacts } from "./packages/ecosystems/ecosystems.ts";
import { readSimilar } from "./packages/popular.ts";
import { findGroup } from "./packages/sources/groups.ts";
import { goChecksums } from "./packages/sources/registries.ts";
import { readSources } from "./packages/sources/sources.ts";
import type { Bundle } from "./policy/bundle.ts";
import type { EcosystemName } from "./policy/ecosystems/ecosystem.ts";
import { namingOf } from "./policy/ecosystems/naming.ts";
import { canEverPermit, evaluate } from "./policy/evaluate.ts";
import { loadBundle } from "./policy/load.ts";
import { mayPermitPackages } from "./policy/package-scope.ts";
import type { Packages } from "./policy/packages.ts";
import type { PolicyRequest } from "./policy/request.ts";
import { createAdmission } from "./session/admission.ts";
import { openLedger } from "./session/ledger.ts";
import { createPool } from "./session/pool.ts";
import { reconcile } from "./session/reconcile.ts";
import { openSandbox, restoreSandbox, type SandboxPorts } from "./session/sandbox.ts";
import { createSessions } from "./session/sessions.ts";
import { removeDeleted, Snapshots } from "./session/snapshots.ts";

export interface Gateway extends AsyncDisposable {
  readonly server: ServerPorts;
}

const MIB = 1024 * 1024;
const PACKAGE_CACHE_BYTES = 8 * 1024 * MIB;

/** How long calls that are cut off by a shutdown may take to write their outcomes. */
const FAREWELL_MS = 1_500;

/**
 * Composes a gateway: the only place that picks drivers. What the last gateways left behind is cleaned up, and the start is on
 * record, before it resolves. `stopping` aborts calls; disposal ends every sandbox and closes the log.
 * @throws GatewayError POLICY_INVALID, POLICY_UNREADABLE, AUDIT_UNWRITABLE, AUDIT_CORRUPT, STATE_UNWRITABLE
 */
export async function openGateway(config: Config, stopping: AbortSignal, engine?: Engine): Promise<Gateway> {
  const log = createLog(config.logLevel);
  const id = newId("gw");
  await using stack = new AsyncDisposableStack();
  await makeDirectories(config);

  const audit = stack.use(await openAuditLog({ directory: config.auditDirectory, gateway: id }));
  const bundle = await loadPolicy(config, audit, log);
  const ledger = stack.use(await openLedger(config.stateDirectory, id));
  const removed = await reconcile(config.stateDirectory, endMachineProcess);
  if (removed.gateways.length > 0) {
    log.warn(removed, "removed what dead gateways had left behind");
    await audit.append({ kind: "event", event: "reconciled", facts: { ...removed } });
  }
  const { name, version, digest } = bundle.identity;
  const facts = { version: VERSION, pid: process.pid, user: userName(), bundle: { name, version, digest } };
  await audit.append({ kind: "event", event: "gateway-started", facts });
  stack.defer(() => audit.append({ kind: "event", event: "gateway-stopped", facts: { why: reasonOf(stopping) } }));

  const hostBootId = await readHostBootId();
  /** Of every machine that was booted for a session: no two sessions may ever share a kernel. */
  const bootIds = new Set<string>();
  const images = openImageStore(config.imageDirectory);
  const readOnce = once(() => readAuthorities(config.trustedCa === undefined ? [] : [config.trustedCa]));
  // Reading the system's takes a tenth of a second, and clients wait for `initialize`; a file that can't be read is a mistake to report now.
  if (config.trustedCa !== undefined) await readOnce();
  const authorities = async () => (await readOnce()).all;
  const machines = stack.use(engine ?? createQemuEngine({ ...config, cacheDirectory: config.stateDirectory, log }));
  const sandboxPorts: SandboxPorts = {
    ledger,
    engine: machines,
    findImage: (image) => images.find(image),
    domain: bundle.identity.name,
    containerShape: async (spec) => JSON.stringify([hardenedOptions(spec), (await readOnce()).digest]),
    // Loaded when a machine is to be prepared: dockerode is the largest dependency, and clients wait for `initialize`.
    startContainer: async (spec, machine, signal) => {
      const { all, extra } = await readOnce();
      const known = { all: all.join(""), extra: extra.join("") };
      await machine.trust({ known, own: "" }, signal);
      return await (await import("./container/docker.ts")).startContainer(spec, machine, signal);
    },
    adoptContainer: agentContainer,
    attest: async (sandbox, signal) => {
      // Copies have the boot id of what they were copied from; what tells them apart is the name that each was given.
      const booted = sandbox.machine.facts.start === "cold";
      const otherBootIds = booted ? bootIds : new Set<string>();
      const attestation = await attest({ ...sandbox, hostBootId, otherBootIds, signal });
      if (booted) bootIds.add(attestation.bootId);
      return attestation;
    },
  };
  const { profile } = bundle;
  const decide = (request: PolicyRequest) => evaluate(bundle, request);
  const closing = new AbortController();
  stack.defer(() => closing.abort());
  const secrets = createSecrets(profile.secrets, {
    signal: closing.signal,
    onFailure: (error) => log.warn({ err: error }, "a secret was not read"),
  });
  const upstreamProxy =
    config.upstreamProxy === undefined ? undefined : tunnelThrough(new URL(config.upstreamProxy), authorities);
  const mayPermit = (ecosystem: EcosystemName) => mayPermitPackages(bundle, ecosystem);
  const packagePorts = { config, decide, audit, log, mayPermit };
  const openPackages = profile.packages && (await packagesOf(profile.packages, packagePorts, stack));
  const admission = createAdmission({
    needMiB: profile.resources.memoryMiB,
    availableMiB: () => process.availableMemory() / MIB,
    maxOpening: Math.max(2, availableParallelism()),
  });
  const pool = stack.use(
    createPool({
      openSandbox: (options) => openSandbox(profile, sandboxPorts, options),
      isCurrent: async ({ imageDigest }) => (await images.find(profile.image)).digest === imageDigest,
      admission,
      log,
      maxSpares: config.spares,
    }),
  );
  await removeDeleted(config.snapshotDirectory);
  const sessions = stack.use(
    createSessions({
      profile,
      audit,
      log,
      openSandbox: pool.open,
      openEgress: (of) =>
        createSessionEgress(
          {
            secrets,
            bundle,
            decide,
            audit,
            log,
            authorities,
            ...(upstreamProxy && { upstreamProxy }),
            ...(openPackages && { openPackages }),
          },
          of,
        ),
      snapshots: new Snapshots(config.snapshotDirectory, ledger, profile.snapshots),
      restoreSandbox: async (saved, options) => {
        using _place = await admission.admit(options);
        return await restoreSandbox(profile, sandboxPorts, saved, options);
      },
    }),
  );
  const ports: CallPorts = {
    find: findCapability,
    decide,
    bundle: bundle.identity,
    profile: bundle.profile,
    audit,
    sessions,
    mounts: createMounts(profile.mounts, [PACKAGE_ROOT, config.dataDirectory, config.policyDirectory]),
    log,
  };
  const running = new Set<Promise<CallResult>>();
  stack.defer(() => settled(running));
  const owned = stack.move();
  return {
    server: {
      version: VERSION,
      instructions: instructions(bundle.profile, grantsOf(bundle)),
      capabilities: CAPABILITIES.filter((it) => canEverPermit(bundle, it.name) && (it.offered?.(profile) ?? true)),
      call: (request: CallRequest) => {
        const result = call(request, ports);
        running.add(result);
        return result.finally(() => running.delete(result));
      },
      stopping,
      log,
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** How sessions get packages; the cache is the owner's to close. */
async function packagesOf(
  packages: Packages,
  {
    config,
    decide,
    audit,
    log,
    mayPermit,
  }: { config: Config } & Pick<SitePorts, "decide" | "audit" | "log"> & Pick<RegistryFacts, "mayPermit">,
  owner: AsyncDisposableStack,
): Promise<OpenPackages> {
  const directory = config.packageCacheDirectory;
  const [{ suite }, sumdb, similarTo] = await Promise.all([
    readRecipe(join(PACKAGE_ROOT, "guest")),
    goChecksums(),
    readSimilar(),
  ]);
  const facts = { suite, architecture: hostArchitecture().debian, sumdb, mayPermit };
  return packageSites({
    registries: packageRegistries(packages, facts),
    sources: once(() => readSources(packages)),
    cache: owner.use(await openPackageCache({ directory, maxBytes: PACKAGE_CACHE_BYTES, log })),
    advisories: owner.use(openAdvisories(config.advisoriesFile, namingOf)),
    licenses: packages.licenses,
    pin: packages.pin,
    similarTo,
    nowMs: Date.now,
    decide,
    audit,
    log,
  });
}

/** A bundle that does not load is on record, and the gateway does not start. */
async function loadPolicy(config: Config, audit: AuditLog, log: Logger): Promise<Bundle> {
  try {
    const bundle = await loadBundle(config.policyDirectory, { describe: describeCall, findGroup, secretProblem });
    log.info({ directory: config.policyDirectory, ...bundle.identity }, "policy loaded");
    return bundle;
  } catch (error) {
    const { code, message } = asGatewayError(error);
    await audit.append({ kind: "event", event: "policy-rejected", facts: { code, message } });
    throw error;
  }
}

/** The state is passable for the machines' own users, the audit log for nobody else. */
async function makeDirectories(config: Config): Promise<void> {
  try {
    await mkdir(config.dataDirectory, { recursive: true, mode: 0o711 });
    await mkdir(config.stateDirectory, { recursive: true, mode: 0o711 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GatewayError("STATE_UNWRITABLE", `cannot make \`${config.dataDirectory}\`: ${reason}`, { cause: error });
  }
}

async function settled(running: ReadonlySet<Promise<CallResult>>): Promise<void> {
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, FAREWELL_MS);
  await Promise.race([Promise.allSettled(running), enough]);
  clearTimeout(timer);
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function reasonOf(signal: AbortSignal): string {
  return signal.reason instanceof Error ? signal.reason.message : "closed";
}
