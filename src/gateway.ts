import { mkdir } from "node:fs/promises";
import { arch, availableParallelism, hostname, platform, release } from "node:os";
import { createElicitation } from "./approval/elicitation.ts";
import { openApprovals } from "./approval/open.ts";
import { asJson } from "./audit/as-json.ts";
import { digestKeyFile, openDigestKey } from "./audit/digest-key.ts";
import { followIndex } from "./audit/index/follow.ts";
import { type AuditLog, openAuditLog } from "./audit/log.ts";
import { openSigner } from "./audit/proof/signer.ts";
import { openShipping } from "./audit/ship/shipping.ts";
import { createAccounts } from "./budget/accounts.ts";
import { openBudgets } from "./budget/store.ts";
import { call } from "./call/call.ts";
import type { CallPorts, CallRequest, CallResult } from "./call/ports.ts";
import { sinkPorts, tellOfSink } from "./central-logging.ts";
import { type Config, PACKAGE_ROOT, VERSION } from "./config.ts";
import { configuredPolicy } from "./configured-policy.ts";
import { readAuthorities } from "./egress/authorities.ts";
import { grantsOf } from "./egress/gate.ts";
import { createKnownSecrets } from "./egress/hide.ts";
import { tunnelThrough } from "./egress/upstream-proxy.ts";
import type { Engine } from "./engine/engine.ts";
import { endMachineProcess } from "./engine/qemu/machine-process.ts";
import { createQemuEngine } from "./engine/qemu/qemu.ts";
import { asGatewayError, GatewayError } from "./errors.ts";
import { openImageStore } from "./image/store.ts";
import { openKeptBodies } from "./kept-bodies.ts";
import { messageOf } from "./lib/error.ts";
import { newId } from "./lib/id.ts";
import { once } from "./lib/once.ts";
import { userName } from "./lib/user.ts";
import { livePolicy } from "./live-policy.ts";
import { createLog } from "./log.ts";
import { keepToRetention } from "./log-retention.ts";
import { instructions } from "./mcp/instructions.ts";
import type { ServerPorts } from "./mcp/server.ts";
import { createMounts } from "./mounts/mounts.ts";
import { canEverPermit, decide } from "./policy/decide.ts";
import { holdPolicy } from "./policy/in-force.ts";
import type { PolicyInForce } from "./policy/layer.ts";
import { sandboxDrivers } from "./sandbox-drivers.ts";
import { createAdmission } from "./session/admission.ts";
import { openInspectionDoor } from "./session/inspection-door.ts";
import { openLedger } from "./session/ledger.ts";
import { reconcile } from "./session/reconcile.ts";
import { createSessions } from "./session/sessions.ts";
import { removeDeleted, Snapshots } from "./session/snapshots.ts";
import { createKits } from "./session-kit.ts";
import { SYSTEM_DIRECTORY } from "./settings.ts";
import { useRequest } from "./skill/use-skill.ts";
import { openTools } from "./tools.ts";

export interface Gateway extends AsyncDisposable {
  readonly server: ServerPorts;
}

const MIB = 1024 * 1024;

/** How long calls that are cut off by a shutdown may take to write their outcomes. */
const FAREWELL_MS = 1_500;

/**
 * Composes a gateway: with `sandbox-drivers.ts` the only place that picks drivers. What the last gateways left behind is cleaned up, and the start is on
 * record, before it resolves. `stopping` aborts calls; disposal ends every sandbox and closes the log.
 * @throws GatewayError POLICY_INVALID, POLICY_UNREADABLE, AUDIT_UNWRITABLE, AUDIT_CORRUPT, STATE_UNWRITABLE
 */
export async function openGateway(config: Config, stopping: AbortSignal, engine?: Engine): Promise<Gateway> {
  const log = createLog(config.logLevel);
  const id = newId("gw");
  await using stack = new AsyncDisposableStack();
  await makeDirectories(config);

  const known = createKnownSecrets();
  const signer = await openSigner(config.auditKeyFile);
  /** None until a policy is loaded: the log is open before. */
  let inForce: PolicyInForce | undefined;
  const redaction = {
    hide: known.hide,
    fields: () => inForce?.current.profile.audit.redact,
    key: await openDigestKey(digestKeyFile(config.auditKeyFile)),
  };
  const audit = stack.use(await openAuditLog({ directory: config.auditDirectory, gateway: id, signer, ...redaction }));
  const readOnce = once(() => readAuthorities(config.trustedCa === undefined ? [] : [config.trustedCa]));
  const authorities = async () => (await readOnce()).all;
  const closing = new AbortController();
  stack.defer(() => closing.abort());
  const tools = await openTools(config, {
    mayPermit: (action) => canEverPermit(policy.current, action),
    mayUse: (skill, principal) => decide(policy.current, useRequest(skill, principal)).outcome !== "deny",
  });
  for (const facts of tools.refused) {
    log.warn(facts, "a skill is not used");
    await audit.append({ kind: "event", event: "skill-refused", facts });
  }
  const configured = await onRecord(audit, () =>
    configuredPolicy({
      config,
      language: tools.language,
      authorities,
      log,
      ending: AbortSignal.any([closing.signal, stopping]),
    }),
  );
  const upstreamProxy =
    config.upstreamProxy === undefined ? undefined : tunnelThrough(new URL(config.upstreamProxy), authorities);
  // Before what follows, so that it ends after it.
  const shipping = stack.use(
    openShipping({
      sinks: configured.sinks,
      dataDirectory: config.dataDirectory,
      auditDirectory: config.auditDirectory,
      ports: sinkPorts({ authorities, upstreamProxy, known, ending: closing.signal }),
      tell: (change) => tellOfSink(change, audit, log),
    }),
  );
  // Closed while it is still shipped: the farewell, and the checkpoint that ends the log, leave this computer with it.
  stack.defer(() => audit[Symbol.asyncDispose]());
  const policy = holdPolicy(await onRecord(audit, configured.load));
  inForce = policy;
  log.info(policy.current.identity, "policy loaded");
  const ledger = stack.use(await openLedger(config.stateDirectory, id));
  const removed = await reconcile(config.stateDirectory, endMachineProcess);
  if (removed.gateways.length > 0) {
    log.warn(removed, "removed what dead gateways had left behind");
    await audit.append({ kind: "event", event: "reconciled", facts: { ...removed } });
  }
  const facts = {
    version: VERSION,
    pid: process.pid,
    user: userName(),
    host: hostname(),
    platform: `${platform()} ${release()} ${arch()}`,
    bundle: asJson(policy.current.identity),
    skills: tools.skills,
    digestKey: redaction.key.check,
  };
  await audit.append({ kind: "event", event: "gateway-started", facts });
  stack.defer(() => audit.append({ kind: "event", event: "gateway-stopped", facts: { why: reasonOf(stopping) } }));

  const bodies = stack.use(openKeptBodies({ ...config, policy, audit, log, hide: known.hide }));
  const images = openImageStore(config.imageDirectory);
  // Reading the system's takes a tenth of a second, and clients wait for `initialize`; a file that can't be read is a mistake to report now.
  if (config.trustedCa !== undefined) await readOnce();
  const machines = stack.use(engine ?? createQemuEngine({ ...config, cacheDirectory: config.stateDirectory, log }));
  const accounts = stack.use(
    createAccounts(policy, () => openBudgets({ file: config.budgetsFile, nowMs: Date.now, log }), shipping.lag),
  );
  const elicitation = createElicitation(Date.now);
  const approvals = stack.use(
    await openApprovals(configured.approvals, {
      stateDirectory: config.stateDirectory,
      usersOwn: configured.usersOwnApprovals,
      elicitation,
      inForce: policy,
      authorities,
      ...(upstreamProxy && { upstreamProxy }),
      onSecret: known.add,
      hide: known.hide,
      audit,
      log,
    }),
  );
  const admission = createAdmission({
    needMiB: () => policy.current.profile.resources.memoryMiB,
    availableMiB: () => process.availableMemory() / MIB,
    maxOpening: Math.max(2, availableParallelism()),
  });
  const kits = stack.use(
    createKits({
      config,
      images,
      sandbox: await sandboxDrivers({ ledger, engine: machines, images, readOnce }),
      admission,
      policy,
      accounts,
      approvals,
      authorities,
      upstreamProxy,
      audit,
      log,
      onSecret: known.add,
      ending: closing.signal,
    }),
  );
  const live = stack.use(await livePolicy(policy, { makeKit: kits.make, audit, log }));
  await removeDeleted(config.snapshotDirectory);
  const sessions = stack.use(
    createSessions({
      kit: () => live.kit,
      enter: (principal, sessionId) => {
        const counted = accounts.openSession({ principalId: principal.id, sessionId });
        const leave = () => {
          counted[Symbol.dispose]();
          approvals.forget(sessionId);
        };
        return { [Symbol.dispose]: leave };
      },
      approved: approvals.grants,
      audit,
      log,
      snapshots: new Snapshots(config.snapshotDirectory, ledger, () => policy.current.profile.snapshots),
    }),
  );
  stack.use(policy.onChange(() => sessions.review()));
  stack.use(await openInspectionDoor({ home: ledger.home, inspect: sessions.inspect, log }));
  stack.use(
    configured.watch(
      () => live.replace(configured.load),
      (error) => live.failed(error),
    ),
  );
  const ours = () => [
    ...[PACKAGE_ROOT, config.dataDirectory, SYSTEM_DIRECTORY],
    ...config.skillDirectories,
    ...configured.ownPlaces(),
  ];
  const ports: CallPorts = {
    find: tools.find,
    accounts,
    policy,
    approvals,
    audit,
    bodies,
    sessions,
    mounts: { open: (...of) => createMounts(policy.current.profile.mounts, ours()).open(...of) },
    log,
  };
  stack.use(followIndex({ path: config.auditIndexFile, auditDirectory: config.auditDirectory, log }));
  const sinks = configured.sinks.map((it) => it.name);
  stack.use(keepToRetention({ config, policy, audit, signer, gateway: id, sinks, hide: known.hide, log }));
  const running = new Set<Promise<CallResult>>();
  stack.defer(() => settled(running));
  const owned = stack.move();
  return {
    server: {
      version: VERSION,
      instructions: instructions(
        policy.current.profile,
        grantsOf(policy.current),
        tools.shelf.skills.size > 0 && canEverPermit(policy.current, "useSkill"),
      ),
      capabilities: (principal) => tools.listed(principal, policy.current.profile),
      onCapabilities: (listener) => {
        const both = new DisposableStack();
        both.use(policy.onChange(listener));
        both.use(tools.shelf.onChange(listener));
        return both;
      },
      skills: (principal) =>
        [...tools.shelf.skills.values()].flatMap((it) =>
          decide(policy.current, useRequest(it, principal)).outcome === "permit" ? [it.skill] : [],
        ),
      call: (request: CallRequest) => {
        const result = call(tools.meant(request), ports);
        running.add(result);
        return result.finally(() => running.delete(result));
      },
      elicitation,
      stopping,
      log,
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A policy that can't be had is on record, and the gateway does not start. */
async function onRecord<T>(audit: AuditLog, get: () => Promise<T>): Promise<T> {
  try {
    return await get();
  } catch (error) {
    const { code, message } = asGatewayError(error);
    if (code !== "SHUTTING_DOWN") {
      await audit.append({ kind: "event", event: "policy-rejected", facts: { code, message } });
    }
    throw error;
  }
}

/** The state is passable for the machines' own users, the audit log for nobody else. */
async function makeDirectories(config: Config): Promise<void> {
  try {
    await mkdir(config.dataDirectory, { recursive: true, mode: 0o711 });
    await mkdir(config.stateDirectory, { recursive: true, mode: 0o711 });
  } catch (error) {
    const reason = messageOf(error);
    throw new GatewayError("STATE_UNWRITABLE", `cannot make \`${config.dataDirectory}\`: ${reason}`, { cause: error });
  }
}

async function settled(running: ReadonlySet<Promise<CallResult>>): Promise<void> {
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, FAREWELL_MS);
  await Promise.race([Promise.allSettled(running), enough]);
  clearTimeout(timer);
}

function reasonOf(signal: AbortSignal): string {
  return signal.reason instanceof Error ? signal.reason.message : "closed";
}
