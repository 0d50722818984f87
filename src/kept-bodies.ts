import type { Bodies } from "./audit/bodies/bodies.ts";
import { eraseBodies } from "./audit/bodies/erase.ts";
import { bodyPlaces, endOfDayMs } from "./audit/bodies/places.ts";
import { createRoom } from "./audit/bodies/room.ts";
import { openBodyStore } from "./audit/bodies/store.ts";
import { namesWith } from "./audit/names.ts";
import type { AuditWriter } from "./audit/record.ts";
import type { Hide } from "./audit/redact-text.ts";
import { isClockSettled } from "./audit/truncate/clock.ts";
import type { Logger } from "./log.ts";
import { fieldRules } from "./policy/audit-fields.ts";
import type { PolicyInForce } from "./policy/layer.ts";

/** How often it is looked for bodies that are too old; ms. */
const RETENTION_MS = 3_600_000;
const DAY_MS = 86_400_000;

export interface KeptBodiesPorts {
  readonly dataDirectory: string;
  readonly auditDirectory: string;
  readonly policy: PolicyInForce;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Replaces values that are known to be secret. */
  readonly hide: Hide;
}

/** Keeps bodies of calls for a gateway, and erases those of the whole data directory that are older than policy says: at once, then every hour. */
export function openKeptBodies(ports: KeptBodiesPorts): Bodies & AsyncDisposable {
  const { dataDirectory, auditDirectory, policy, audit, log, hide } = ports;
  const places = bodyPlaces(dataDirectory);
  const rulesOf = (tool: string) => {
    const { anywhere, ofTools } = fieldRules(policy.current.profile.audit.redact);
    return { hide, names: namesWith(new Set([...anywhere, ...(ofTools.get(tool) ?? [])])) };
  };
  const { keep } = openBodyStore({ places, room: createRoom({ directory: places.directory }), rulesOf });
  let running: Promise<void> = Promise.resolve();

  async function eraseOld(): Promise<void> {
    const { bodyDays, recordDays } = policy.current.profile.audit.retention;
    // Without its record, nobody can say what a body was.
    const days = Math.min(bodyDays ?? Number.POSITIVE_INFINITY, recordDays ?? Number.POSITIVE_INFINITY);
    if (days === Number.POSITIVE_INFINITY) return;
    const nowMs = Date.now();
    const before = nowMs - days * DAY_MS;
    try {
      // What a clock that jumped ahead erased would be gone for ever.
      if (!(await isClockSettled(auditDirectory, nowMs, days * DAY_MS))) return;
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
