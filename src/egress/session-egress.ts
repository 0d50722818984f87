import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { AuditWriter } from "../audit/record.ts";
import type { Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Bundle } from "../policy/bundle.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyRequest } from "../policy/request.ts";
import { createDial } from "./dial.ts";
import type { EgressOf, SessionEgress } from "./egress.ts";
import { createGate } from "./gate.ts";
import { GuestConnection } from "./guest-connection.ts";
import { dialGuest } from "./preview-dial.ts";
import { createPreviews } from "./previews.ts";
import { createRegistryHttp } from "./registry-http.ts";
import type { Secrets } from "./secret-cache.ts";
import { createSessionAuthority, type SessionAuthority } from "./session-authority.ts";
import { createSessionSecrets } from "./session-secrets.ts";
import type { OpenPackages } from "./session-site.ts";
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

export interface EgressPorts {
  readonly bundle: Bundle;
  readonly decide: (request: PolicyRequest) => Decision;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** In PEM; whose certificates upstream servers may have. */
  readonly authorities: () => Promise<readonly string[]>;
  readonly upstreamProxy?: TunnelThrough;
  /** How a session gets packages; absent when the profile permits none. */
  readonly openPackages?: OpenPackages;
  /** The values of the profile's secrets. */
  readonly secrets: Secrets;
}

type Attachable = Pick<Machine, "connect" | "condemn" | "trust" | "lost">;

export function createSessionEgress(
  ports: EgressPorts,
  { sessionId, principal, callsRunning, end, use }: EgressOf,
): SessionEgress {
  const { bundle, log, audit } = ports;
  const closing = new AbortController();
  // As many listen as there are connections.
  setMaxListeners(0, closing.signal);
  const secrets = createSessionSecrets(bundle.profile.secrets, ports.secrets, closing.signal);
  const gate = createGate({ bundle, decide: ports.decide, principal, hasSecret: secrets.isBoundTo });
  const traffic = new Traffic({ audit, sessionId, log, callsRunning });
  const { egress } = bundle.profile;
  const dial = createDial({ egress, ...(ports.upstreamProxy && { upstream: ports.upstreamProxy }) });
  const upstream = createUpstream({ dial, authorities: ports.authorities, ending: closing.signal });
  let authority: Promise<SessionAuthority> | undefined;
  const sessionAuthority = () => {
    authority ??= createSessionAuthority();
    return authority;
  };
  const pace = {
    connection: createPace(BURST, PER_SECOND),
    request: createPace(REQUEST_BURST, REQUESTS_PER_SECOND),
  };
  const packages = ports.openPackages?.({
    sessionId,
    principal,
    callsRunning,
    send: createRegistryHttp({ upstream, secrets, bound: bundle.profile.secrets }),
    traffic,
    ending: closing.signal,
  });
  const wayOut = createWayOut({
    site: packages?.site,
    pace,
    gate,
    traffic,
    upstream,
    dial,
    authority: sessionAuthority,
    secrets,
    onExfiltration: () =>
      egress.onExfiltration === "end-session" && end("a placeholder was sent where it does not belong"),
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
      const trusting = async () => machine.trust({ own: (await sessionAuthority()).certificate }, signal);
      if (mayTerminate(bundle)) await trusting();
      // Needed for registries' own addresses only: package managers are told of one that needs no TLS.
      else if (packages)
        trusting().catch((error: unknown) => log.warn({ sessionId, err: error }, "trust was not set up"));
      attached = machine;
      waiting = 0;
      ask(machine);
    },
    grants: gate.grants,
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
      previews[Symbol.dispose]();
      for (const it of open) it.destroy();
      wayOut[Symbol.dispose]();
      upstream[Symbol.dispose]();
      traffic.close();
    },
  };
}

/** Whether TLS to any host ends at the proxy. */
function mayTerminate({ policies, profile }: Bundle): boolean {
  return (
    profile.secrets.length > 0 ||
    profile.packages !== undefined ||
    [...policies.values()].some(({ connect }) => connect?.readsRequests)
  );
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
