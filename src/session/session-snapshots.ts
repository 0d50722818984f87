import type { Principal } from "../policy/request.ts";
import type { OpenSandbox, RestoreSandbox, SavedIn } from "./sandbox.ts";
import type { SessionSnapshots } from "./session.ts";
import type { Snapshots, TemporarySave } from "./snapshots.ts";
import type { Tenancy } from "./tenancy.ts";

export interface SessionSnapshotPorts {
  readonly snapshots: Snapshots;
  readonly restoreSandbox: RestoreSandbox;
}

/** A session's new sandbox, on its way into the place of the old one. */
export interface Succession {
  readonly tenancy: Tenancy;
  /** Resolves when the session has it. */
  readonly done: Promise<void>;
  /** Ends it, if it is not in its place yet. */
  readonly giveUp: () => void;
}

/** What is needed of the table of sessions (`sessions.ts`). */
export interface SessionDoors {
  enter(principal: Principal, sessionId: string | undefined): Tenancy;
  open(principal: Principal, name: string | undefined, openSandbox: OpenSandbox): Tenancy;
  succeed(principal: Principal, sessionId: string | undefined, openSandbox: OpenSandbox): Succession;
}

/** Snapshots of sessions, and sessions from snapshots. */
export function sessionSnapshots(
  { snapshots, restoreSandbox }: SessionSnapshotPorts,
  doors: SessionDoors,
): SessionSnapshots {
  return {
    list: ({ id }) => snapshots.list(id),
    delete: ({ id }, snapshot) => snapshots.delete(id, snapshot),

    async take({ principal, sessionId, snapshot, signal, progress }) {
      const tenancy = doors.enter(principal, sessionId);
      const owner = { principalId: principal.id, sessionId: tenancy.identity.sessionId };
      return await held(tenancy, () =>
        snapshots.take(owner, snapshot, (directory) => tenancy.save(directory, signal, progress)),
      );
    },

    async restore({ principal, sessionId, snapshot, signal, progress }) {
      const saved = await snapshots.find(principal.id, snapshot);
      signal.throwIfAborted();
      const { tenancy, done, giveUp } = doors.succeed(principal, sessionId, asSaved(saved));
      // When this call stops waiting it still takes its place.
      done.catch(() => undefined);
      signal.addEventListener("abort", giveUp, { once: true });
      try {
        await tenancy.ready(signal, progress);
        await done;
        return tenancy.summary();
      } finally {
        signal.removeEventListener("abort", giveUp);
      }
    },

    async fork({ principal, sessionId, snapshot, name, signal, progress }) {
      const openSandbox =
        snapshot === undefined
          ? asItIsNow(doors.enter(principal, sessionId))
          : asSaved(await snapshots.find(principal.id, snapshot));
      const tenancy = doors.open(principal, name, openSandbox);
      await tenancy.ready(signal, progress);
      return tenancy.summary();
    },
  };

  function asSaved(saved: SavedIn): OpenSandbox {
    return (options) => restoreSandbox(saved, options);
  }

  /** Saved within the opening, so that it is removed whoever stops waiting. */
  function asItIsNow(original: Tenancy): OpenSandbox {
    return async (options) => {
      await using saved: TemporarySave = await held(original, () =>
        snapshots.temporary((directory) => original.save(directory, options.signal, options.progress)),
      );
      return await restoreSandbox(saved, options);
    };
  }
}

/** Keeps a session from being closed, or paused, meanwhile. */
async function held<T>(tenancy: Tenancy, work: () => Promise<T>): Promise<T> {
  tenancy.hold();
  try {
    return await work();
  } finally {
    tenancy.release();
  }
}
