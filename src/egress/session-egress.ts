import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Approvals } from "../approval/approval.ts";
import { asksFor } from "../approval/settle.ts";
import type { AuditWriter } from "../audit/record.ts";
import type { Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { once } from "../lib/once.ts";
import type { Logger } from "../log.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyInForce } from "../policy/layer.ts";
import type { Profile } from "../policy/profile.ts";
import type { PolicyRequest } from "../policy/request.ts";
import { readsUsage } from "../policy/usage-read.ts";
import { createDial } from "./dial.ts";
import type { EgressOf, SessionEgress } from "./egress.ts";
import { createGate, readsAnyRequests } from "./gate.ts";
import { GuestConnection } from "./guest-connection.ts";
import { dialGuest } from "./preview-dial.ts";
import { createPreviews } from "./previews.ts";
import { createRegistryHttp } from "./registry-http.ts";
import type { Secrets } from "./secret-cache.ts";
import { createSessionAuthority } from "./session-authority.ts";
import { createSessionSecrets } from "./session-secrets.ts";
import type { OpenPackages } from "./session-site.ts";
import { createStanding } from "./standing.ts";
import { Traffic } from "./traffic.ts";
import { createUpstream } from "./upstream.ts";
import type { TunnelThrough } from "./upstream-proxy.ts";
import { createWayOut } from "./way-out.ts";

/** Open at once; programs' further attempts wait in the guest. */
const MAX_OPEN = 256;
/** The guest is asked for so many ahead: each answer takes a round trip through the channel. */
const AHEAD = 8;
/** So many new ones at once, and then so many a second: each is a record in the audit log. */
const BURST = 512;
const PER_SECOND = 100;
/** The same for requests: each is decided, and a program can send thousands in one write. */
const REQUEST_BURST = 1_024;
const REQUESTS_PER_SECOND = 400;
/** How often open connections are looked at where policy depends on what was used, or after how many bytes. */
const BUDGET_MS = 1_000;
const BUDGET_BYTES = 1_048_576;

export interface EgressPorts {
  /** What the session was opened under: its secrets. What may leave is decided by the policy in force. */
  readonly profile: Profile;
  readonly policy: PolicyInForce;
  readonly decide: (request: PolicyRequest, sessionId: string) => Decision;
  readonly approvals: Approvals;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** In PEM; whose certificates upstream servers may have. */
  readonly authorities: () => Promise<readonly string[]>;
  readonly upstreamProxy?: TunnelThrough;
  /** How a session gets packages; absent when the profile permits none. */
  readonly openPackages?: OpenPackages;
  /** The values of the profile's secrets. */
  readonly secrets: Secrets;
  /** Told of what the session's programs send and receive, as they do. Previews and the gateway's own requests to registries are not theirs. */
  readonly onBytes?: (of: Pick<EgressOf, "sessionId" | "principal">, bytes: number) => void;
}

type Attachable = Pick<Machine, "connect" | "condemn" | "trust" | "lost">;

export function createSessionEgress(
  ports: EgressPorts,
  { sessionId, principal, callsRunning, end, use }: EgressOf,
): SessionEgress {
  const { profile, policy, log, audit, approvals } = ports;
  const closing = new AbortController();
  // As many listen as there are connections.
  setMaxListeners(0, closing.signal);
  const granted = () => policy.current.profile.secrets;
  const secrets = createSessionSecrets(profile.secrets, { values: ports.secrets, granted, ending: closing.signal });
  const decide = (request: PolicyRequest) => ports.decide(request, sessionId);
  const gate = createGate({ policy: () => policy.current, decide, principal, hasSecret: secrets.isBoundTo });
  const { onBytes } = ports;
  let unseenBytes = 0;
  const count = (bytes: number) => {
    onBytes?.({ sessionId, principal }, bytes);
    unseenBytes += bytes;
    if (unseenBytes < BUDGET_BYTES) return;
    unseenBytes = 0;
    setImmediate(reviewBudgets);
  };
  const traffic = new Traffic({ audit, sessionId, log, callsRunning, onBytes: count });
  const standing = createStanding(traffic);
  const askPerson = asksFor(sessionId, { approvals, decide });
  const dial = createDial({
    egress: () => policy.current.profile.egress,
    ...(ports.upstreamProxy && { upstream: ports.upstreamProxy }),
  });
  const upstream = createUpstream({ dial, authorities: ports.authorities, ending: closing.signal });
  const sessionAuthority = once(createSessionAuthority);
  const pace = {
    connection: createPace(BURST, PER_SECOND),
    request: createPace(REQUEST_BURST, REQUESTS_PER_SECOND),
  };
  const packages = ports.openPackages?.({
    sessionId,
    principal,
    callsRunning,
    send: createRegistryHttp({ upstream, secrets, bound: profile.secrets }),
    traffic,
    ask: askPerson,
    ending: closing.signal,
  });
  const wayOut = createWayOut({
    site: packages?.site,
    pace,
    gate,
    ask: askPerson,
    standing,
    traffic,
    upstream,
    dial,
    authority: sessionAuthority,
    secrets,
    onExfiltration: () =>
      policy.current.profile.egress.onExfiltration === "end-session" &&
      end("a placeholder was sent where it does not belong"),
    log,
    ending: closing.signal,
  });
  const open = new Set<GuestConnection>();
  let waiting = 0;
  let attached: Attachable | undefined;
  const previews = createPreviews({
    sessionId,
    audit,
    log,
    dial: (port) => dialGuest(port, { machine: () => attached, use, ending: closing.signal }),
  });

  let trusts = false;
  const trust = async (machine: Attachable, signal: AbortSignal) => {
    await machine.trust({ own: (await sessionAuthority()).certificate }, signal);
    trusts = true;
  };
  const trustLater = (machine: Attachable, signal: AbortSignal) => {
    trust(machine, signal).catch((error: unknown) => log.warn({ sessionId, err: error }, "trust was not set up"));
  };
  const watching = policy.onChange((now) => {
    standing.review("the policy has changed");
    if (attached && !trusts && readsAnyRequests(now)) trustLater(attached, closing.signal);
  });

  /** A connection that was permitted when it was opened may use up a budget: else one would be worth any. */
  function reviewBudgets(): void {
    if (open.size > 0 && readsUsage(policy.current)) standing.review("it has been open");
  }
  const budgeting = setInterval(reviewBudgets, BUDGET_MS);
  budgeting.unref();

  /** Keeps some questions for the next connection with the guest, as many as there is room for. */
  function ask(machine: Attachable): void {
    while (!closing.signal.aborted && machine === attached && waiting < Math.min(AHEAD, MAX_OPEN - open.size)) {
      waiting += 1;
      void next(machine).finally(() => {
        if (machine !== attached) return;
        waiting -= 1;
        ask(machine);
      });
    }
  }

  async function next(machine: Attachable): Promise<void> {
    let connection: GuestConnection | undefined;
    try {
      await pace.connection(closing.signal);
      connection = new GuestConnection(machine, "/connection", {});
      const taken = connection;
      const end = () => taken.destroy();
      closing.signal.addEventListener("abort", end, { once: true });
      taken.once("close", () => {
        closing.signal.removeEventListener("abort", end);
        open.delete(taken);
        ask(machine);
      });
      const opened = await taken.opened;
      open.add(taken);
      wayOut.take(taken, opened);
    } catch (error) {
      // A machine whose channel is closed is asked no more; one that refuses is asked again, at the pace of all.
      if (!connection && machine === attached) attached = undefined;
      connection?.destroy();
      if (machine.lost.aborted || closing.signal.aborted) return;
      if (!(error instanceof GatewayError)) log.warn({ sessionId, err: error }, "a connection of the sandbox failed");
    }
  }

  return {
    environment: { ...packages?.environment, ...secrets.environment },
    packages: packages?.packages,
    attach: async (machine, signal) => {
      trusts = false;
      if (readsAnyRequests(policy.current) || profile.secrets.length > 0) await trust(machine, signal);
      // Needed for registries' own addresses only: package managers are told of one that needs no TLS.
      else if (packages) trustLater(machine, signal);
      attached = machine;
      waiting = 0;
      ask(machine);
    },
    get grants() {
      return gate.grants;
    },
    previews,
    get open() {
      return open.size;
    },
    get mark() {
      return traffic.mark;
    },
    refusalsSince: (mark) => traffic.refusalsSince(mark),
    [Symbol.dispose]: () => {
      closing.abort(new GatewayError("SESSION_CLOSED"));
      attached = undefined;
      watching[Symbol.dispose]();
      clearInterval(budgeting);
      previews[Symbol.dispose]();
      for (const it of open) it.destroy();
      wayOut[Symbol.dispose]();
      upstream[Symbol.dispose]();
      traffic.close();
    },
  };
}

/** Resolves at once for the first `burst`, and then `perSecond` times a second. @throws the signal's reason */
function createPace(burst: number, perSecond: number): (signal: AbortSignal) => Promise<void> {
  let dueMs = performance.now() - (burst / perSecond) * 1_000;
  return async (signal) => {
    const now = performance.now();
    dueMs = Math.max(dueMs, now - (burst / perSecond) * 1_000) + 1_000 / perSecond;
    if (dueMs > now) await sleep(dueMs - now, undefined, { signal, ref: false });
  };
}
