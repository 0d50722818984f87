import type { OpenEgress } from "../egress/egress.ts";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import type { Profile } from "../policy/profile.ts";
import type { Principal } from "../policy/request.ts";
import type { InspectedSession } from "./inspection.ts";
import type { OpenSandbox, RestoreSandbox } from "./sandbox.ts";
import type { Lease, SessionTable } from "./session.ts";
import { type Succession, sessionSnapshots } from "./session-snapshots.ts";
import type { Save, Snapshots } from "./snapshots.ts";
import { Tenancy, type TenancyPorts } from "./tenancy.ts";

/** What sessions are made with under one profile. */
export interface SessionKit {
  readonly profile: Profile;
  readonly openSandbox: OpenSandbox;
  readonly restoreSandbox: RestoreSandbox;
  readonly openEgress: OpenEgress;
}

export interface SessionsPorts extends Omit<TenancyPorts, "hibernation" | "openEgress" | "made" | "profile"> {
  /** As it is now; a session keeps the one that it was opened with. */
  readonly kit: () => SessionKit;
  readonly snapshots: Snapshots;
  /** Counts a session as open, until disposal. @throws GatewayError BUDGETS_UNREADABLE, SESSION_LIMIT */
  readonly enter: (principal: Principal, sessionId: string) => Disposable;
}

interface Reviewed {
  /** Ends sessions that the profile in force would not let be as they are. */
  review(): void;
  /** Looks at every session, and resolves when what was seen is on record. @throws GatewayError AUDIT_UNWRITABLE */
  inspect(signal: AbortSignal): Promise<readonly InspectedSession[]>;
}

/** How often idle sessions are looked for. */
const EXPIRY_INTERVAL_MS = 10_000;

/** Opens, finds, expires and closes sessions; the owner of them all. */
export function createSessions(ports: SessionsPorts): SessionTable & Reviewed & AsyncDisposable {
  const tenancies = new Map<string, Tenancy>();
  /** Being opened to take the place of others. */
  const successors = new Set<Tenancy>();
  /** Ids of default sessions by principal, minted before they are opened so that every record can carry one. */
  const defaults = new Map<string, string>();
  const { snapshots, kit } = ports;
  const saveTemporarily = (save: Save) => snapshots.temporary(save);
  const profile = () => kit().profile;
  const entered = new Map<string, Disposable>();
  let disposed = false;

  const expiry = setInterval(() => {
    for (const tenancy of tenancies.values()) {
      if (tenancy.isIdle()) void closeQuietly(tenancy, "idle");
      else tenancy.rest();
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
    if (tenancy?.identity.principal.id === principal.id) return tenancy;
    throw new GatewayError("SESSION_NOT_FOUND", `there is no session \`${sessionId.slice(0, 100)}\``);
  }

  /** As `find`, but a default session that is not open is none. */
  function findOpen(principal: Principal, sessionId: string): Tenancy | undefined {
    const isUnopened = sessionId === defaults.get(principal.id) && !tenancies.has(sessionId);
    return isUnopened ? undefined : find(principal, sessionId);
  }

  function ofPrincipal(principal: Principal): Tenancy[] {
    return [...tenancies.values()].filter((it) => it.identity.principal.id === principal.id);
  }

  function open(principal: Principal, sessionId: string, name?: string, openSandbox?: OpenSandbox): Tenancy {
    if (disposed) throw new GatewayError("SHUTTING_DOWN");
    const limit = profile().limits.sessions;
    if (ofPrincipal(principal).length >= limit) {
      throw new GatewayError("SESSION_LIMIT", `${limit} sessions are open, as many as the profile permits`);
    }
    entered.set(sessionId, ports.enter(principal, sessionId));
    const tenancy = create(principal, sessionId, name, openSandbox);
    tenancies.set(sessionId, tenancy);
    return tenancy;
  }

  function create(
    principal: Principal,
    sessionId: string,
    name: string | undefined,
    given: OpenSandbox | undefined,
  ): Tenancy {
    const { openSandbox, restoreSandbox, openEgress, profile: made } = kit();
    const hibernation = { saveTemporarily, restoreSandbox };
    const tenancyPorts: TenancyPorts = { ...ports, profile, hibernation, openEgress, made };
    const identity = { sessionId, principal, name };
    const tenancy = new Tenancy(identity, tenancyPorts, given ?? openSandbox, () => remove(tenancy));
    return tenancy;
  }

  /** The session of this id; the default one is opened if need be. */
  function enter(principal: Principal, sessionId: string | undefined): Tenancy {
    const id = idOf(principal, sessionId);
    return findOpen(principal, id) ?? open(principal, id);
  }

  /** Opens a sandbox in the place of a session's own, which is ended when that has succeeded. */
  function succeed(principal: Principal, sessionId: string | undefined, openSandbox: OpenSandbox): Succession {
    if (disposed) throw new GatewayError("SHUTTING_DOWN");
    const id = idOf(principal, sessionId);
    const old = findOpen(principal, id);
    if (!old) {
      const tenancy = open(principal, id, undefined, openSandbox);
      return { tenancy, done: tenancy.opened(), giveUp: () => undefined };
    }
    if ([...successors].some((it) => it.identity.sessionId === id))
      throw new GatewayError("STILL_PREPARING", "a snapshot is being restored into this session already");
    const tenancy = create(principal, id, old.identity.name, openSandbox);
    successors.add(tenancy);
    const done = tenancy.opened().then(async () => {
      successors.delete(tenancy);
      const overtaken = tenancies.get(id) !== old || old.isEnding;
      if (!overtaken) tenancies.set(id, tenancy);
      await closeQuietly(overtaken ? tenancy : old, overtaken ? "the session was closed meanwhile" : "restored");
      if (overtaken) throw new GatewayError("SESSION_CLOSED");
    });
    return { tenancy, done, giveUp: () => void (successors.has(tenancy) && closeQuietly(tenancy, "given up")) };
  }

  function remove(tenancy: Tenancy): void {
    const { sessionId } = tenancy.identity;
    successors.delete(tenancy);
    if (tenancies.get(sessionId) !== tenancy) return;
    tenancies.delete(sessionId);
    entered.get(sessionId)?.[Symbol.dispose]();
    entered.delete(sessionId);
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
      get machineId() {
        return held?.machineId;
      },
      session: (signal, progress) => {
        if (!held) {
          held = enter(principal, sessionId);
          held.hold();
        }
        return held.ready(signal, progress);
      },
      [Symbol.asyncDispose]: async () => held?.release(),
    };
  }

  return {
    get profile() {
      return profile();
    },
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
      const old = findOpen(principal, id);
      if (old) await close(old, "reset");
      // Another call may have been quicker.
      const fresh = tenancies.get(id) ?? open(principal, id, old?.identity.name);
      await fresh.ready(signal, progress);
      return fresh.summary();
    },
    review: () => {
      for (const tenancy of tenancies.values()) {
        const misfit = tenancy.misfit(profile());
        if (misfit !== undefined) void closeQuietly(tenancy, misfit);
      }
    },
    inspect: (signal) => Promise.all([...tenancies.values()].map((it) => it.inspect(signal))),
    snapshots: sessionSnapshots(
      { snapshots, restoreSandbox: (...of) => kit().restoreSandbox(...of) },
      {
        enter,
        succeed,
        open: (principal, name, openSandbox) => open(principal, newId("ses"), name, openSandbox),
      },
    ),
    list: (principal) => ofPrincipal(principal).map((it) => it.summary()),
    status: (principal, sessionId) => findOpen(principal, idOf(principal, sessionId))?.summary(),
    [Symbol.asyncDispose]: async () => {
      disposed = true;
      clearInterval(expiry);
      await Promise.all([...tenancies.values(), ...successors].map((it) => closeQuietly(it, "shutdown")));
    },
  };
}
