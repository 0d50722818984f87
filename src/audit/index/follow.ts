import { setTimeout as sleep } from "node:timers/promises";
import { type CatchUpOptions, catchUp } from "./catch-up.ts";
import { type AuditIndex, isBusy, isDamage, openIndex } from "./open.ts";

const INTERVAL_MS = 1_000;
/** Few at once: SQLite works on the thread that answers calls. */
const BATCH_RECORDS = 100;
/** Another process that writes has this long; then it is the next round's turn. */
const BUSY_MS = 20;
/** After this many failures in a row nothing more is tried: whoever asks catches up by himself. */
const MAX_FAILURES = 10;

export interface FollowPorts {
  readonly path: string;
  readonly auditDirectory: string;
  readonly log: {
    info(facts: object, message: string): void;
    warn(facts: object, message: string): void;
  };
  /** In place of a second. */
  readonly intervalMs?: number;
}

/** Keeps an index up to date until disposal, which waits for what is being written. Never throws: it is logged what goes wrong. */
export function followIndex({ path, auditDirectory, log, intervalMs = INTERVAL_MS }: FollowPorts): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const rest = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
  const options: CatchUpOptions = {
    signal,
    batchRecords: BATCH_RECORDS,
    // So that a long log takes half of the thread's time at most.
    pause: (tookMs) => rest(tookMs),
    onChanged: (chain) => log.warn({ chain }, "the audit log is not what was indexed of it; it is indexed anew"),
  };
  const onDiscarded = (why: string) => log.info({ why }, "the index of the audit log is made anew");

  const run = async () => {
    let index: AuditIndex | undefined;
    let isDamaged = false;
    let opened = 0;
    for (let failures = 0; !signal.aborted && failures < MAX_FAILURES; await rest(intervalMs)) {
      try {
        if (index?.isCurrent() !== true) {
          index?.[Symbol.dispose]();
          index = undefined;
          const again = { rebuild: isDamaged, keepsVersions: opened > 0 };
          index = await openIndex(path, { busyMs: BUSY_MS, onDiscarded, ...again });
          isDamaged = false;
          opened += 1;
        }
        await catchUp(index, auditDirectory, options);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        // Then it is another process that brings it up to date.
        if (index && isBusy(error)) continue;
        failures += 1;
        isDamaged = isDamage(error);
        if (isDamaged) {
          index?.[Symbol.dispose]();
          index = undefined;
        }
        log.warn({ err: error }, "the index of the audit log was not brought up to date");
      }
    }
    index?.[Symbol.dispose]();
  };
  const running = run().catch((error: unknown) => log.warn({ err: error }, "the audit log is not indexed any more"));
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await running;
    },
  };
}
