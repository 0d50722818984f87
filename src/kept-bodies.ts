import type { Bodies } from "./audit/bodies/bodies.ts";
import { eraseBodies } from "./audit/bodies/erase.ts";
import { bodyPlaces, endOfDayMs } from "./audit/bodies/places.ts";
import { createRoom } from "./audit/bodies/room.ts";
import { openBodyStore } from "./audit/bodies/store.ts";
import type { AuditWriter } from "./audit/record.ts";
import type { Hide } from "./audit/redact-text.ts";
import type { Logger } from "./log.ts";
import type { PolicyInForce } from "./policy/layer.ts";

/** How often it is looked for bodies that are too old; ms. */
const RETENTION_MS = 3_600_000;
const DAY_MS = 86_400_000;

export interface KeptBodiesPorts {
  readonly dataDirectory: string;
  readonly policy: PolicyInForce;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Replaces values that are known to be secret. */
  readonly hide: Hide;
}

/** Keeps bodies of calls for a gateway, and erases those of the whole data directory that are older than policy says: at once, then every hour. */
export function openKeptBodies(ports: KeptBodiesPorts): Bodies & AsyncDisposable {
  const { dataDirectory, policy, audit, log, hide } = ports;
  const places = bodyPlaces(dataDirectory);
  const { keep } = openBodyStore({ places, room: createRoom({ directory: places.directory }), hide });
  let running: Promise<void> = Promise.resolve();

  async function eraseOld(): Promise<void> {
    const { bodyDays, recordDays } = policy.current.profile.audit.retention;
    // Without its record, nobody can say what a body was.
    const days = Math.min(bodyDays ?? Number.POSITIVE_INFINITY, recordDays ?? Number.POSITIVE_INFINITY);
    if (days === Number.POSITIVE_INFINITY) return;
    const before = Date.now() - days * DAY_MS;
    try {
      const erases = (keyId: string) => endOfDayMs(keyId) <= before;
      const erased = await eraseBodies({ places, audit, why: "retention", erases });
      if (erased && erased.keys > 0) log.info(erased, "bodies of calls were erased, since they were old");
    } catch (error) {
      log.error({ err: error }, "bodies of calls that are too old could not be erased");
    }
  }

  const look = () => {
    running = running.then(eraseOld);
  };
  look();
  const timer = setInterval(look, RETENTION_MS);
  timer.unref();
  return {
    keep,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await running;
    },
  };
}
