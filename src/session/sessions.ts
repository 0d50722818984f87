import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import type { Principal } from "../policy/request.ts";
import type { Lease, SessionTable } from "./session.ts";
import { Tenancy, type TenancyPorts } from "./tenancy.ts";

/** How often idle sessions are looked for. */
const EXPIRY_INTERVAL_MS = 10_000;

/** Opens, finds, expires and closes sessions; the owner of them all. */
export function createSessions(ports: TenancyPorts): SessionTable & AsyncDisposable {
  const tenancies = new Map<string, Tenancy>();
  /** Ids of default sessions by principal, minted before they are opened so that every record can carry one. */
  const defaults = new Map<string, string>();
  let disposed = false;

  const expiry = setInterval(() => {
    for (const tenancy of tenancies.values()) {
      if (tenancy.isIdle(Date.now())) void closeQuietly(tenancy, "idle");
      else tenancy.rest(Date.now());
    }
  }, EXPIRY_INTERVAL_MS);
  expiry.unref();

  function idOf(principal: Principal, sessionId: string | undefined): string {
    if (sessionId !== undefined) return sessionId;
    const id = defaults.get(principal.id) ?? newId("ses");
    defaults.set(principal.id, id);
    return id;
  }

  function find(principal: Principal, sessionId: string): Tenancy {
    const tenancy = tenancies.get(sessionId);
    // Another principal's session must look exactly like one that never was.
    if (tenancy?.identity.principalId === principal.id) return tenancy;
    throw new GatewayError("SESSION_NOT_FOUND", `there is no session \`${sessionId.slice(0, 100)}\``);
  }

  function ofPrincipal(principal: Principal): Tenancy[] {
    return [...tenancies.values()].filter((it) => it.identity.principalId === principal.id);
  }

  function open(principal: Principal, sessionId: string, name: string | undefined): Tenancy {
    if (disposed) throw new GatewayError("SHUTTING_DOWN");
    const limit = ports.profile.limits.sessions;
    if (ofPrincipal(principal).length >= limit) {
      throw new GatewayError("SESSION_LIMIT", `${limit} sessions are open, as many as the profile permits`);
    }
    const tenancy = new Tenancy({ sessionId, principalId: principal.id, name }, ports, () => remove(tenancy));
    tenancies.set(sessionId, tenancy);
    return tenancy;
  }

  function remove(tenancy: Tenancy): void {
    const { sessionId } = tenancy.identity;
    if (tenancies.get(sessionId) === tenancy) tenancies.delete(sessionId);
  }

  async function close(tenancy: Tenancy, why: string): Promise<void> {
    try {
      await tenancy.close(why);
    } finally {
      remove(tenancy);
    }
  }

  function closeQuietly(tenancy: Tenancy, why: string): Promise<void> {
    return close(tenancy, why).catch((error: unknown) =>
      ports.log.error({ sessionId: tenancy.identity.sessionId, err: error }, "session did not close cleanly"),
    );
  }

  function lease(principal: Principal, sessionId: string | undefined): Lease {
    let held: Tenancy | undefined;
    return {
      session: (signal, progress) => {
        if (!held) {
          const id = idOf(principal, sessionId);
          const mustExist = sessionId !== undefined && sessionId !== defaults.get(principal.id);
          held = mustExist || tenancies.has(id) ? find(principal, id) : open(principal, id, undefined);
          held.hold();
        }
        return held.ready(signal, progress);
      },
      [Symbol.asyncDispose]: async () => held?.release(),
    };
  }

  return {
    profile: ports.profile,
    idOf,
    lease,
    open: async ({ principal, name, signal, progress }) => {
      const tenancy = open(principal, newId("ses"), name);
      await tenancy.ready(signal, progress);
      return tenancy.summary();
    },
    close: (principal, sessionId) => close(find(principal, sessionId), "asked for"),
    reset: async ({ principal, sessionId, signal, progress }) => {
      const id = idOf(principal, sessionId);
      const isDefault = id === defaults.get(principal.id);
      const old = isDefault && !tenancies.has(id) ? undefined : find(principal, id);
      if (old) await close(old, "reset");
      const fresh = open(principal, id, old?.identity.name);
      await fresh.ready(signal, progress);
      return fresh.summary();
    },
    list: (principal) => ofPrincipal(principal).map((it) => it.summary()),
    status: (principal, sessionId) => {
      const id = idOf(principal, sessionId);
      const unopened = id === defaults.get(principal.id) && !tenancies.has(id);
      return unopened ? undefined : find(principal, id).summary();
    },
    [Symbol.asyncDispose]: async () => {
      disposed = true;
      clearInterval(expiry);
      await Promise.all([...tenancies.values()].map((it) => closeQuietly(it, "shutdown")));
    },
  };
}
