import { setTimeout as sleep } from "node:timers/promises";
import { backOffMs } from "./back-off.ts";
import { type CatchUpOptions, catchUp } from "./catch-up.ts";
import { type AuditIndex, isBusy, isDamage, openIndex } from "./open.ts";

/** Few at once, so that other processes that write need not wait long. */
const BATCH_RECORDS = 1_000;
/** Another process that writes has this long; then it is the next round's turn. */
const BUSY_MS = 20;

export interface KeepUpPorts {
  readonly path: string;
  readonly auditDirectory: string;
  readonly log: {
    info(facts: object, message: string): void;
    warn(facts: object, message: string): void;
  };
  /** Between two looks at the log. */
  readonly intervalMs: number;
  readonly signal: AbortSignal;
}

/** Keeps an index up to date until the signal aborts. Never throws for what goes wrong: that is logged, and tried again ever later. */
export async function keepUp({ path, auditDirectory, log, intervalMs, signal }: KeepUpPorts): Promise<void> {
  const rest = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
  const options: CatchUpOptions = {
    signal,
    batchRecords: BATCH_RECORDS,
    // So that a long log takes half of a core at most.
    pause: (tookMs) => rest(tookMs),
    onChanged: (chain) => log.warn({ chain }, "the audit log is not what was indexed of it; it is indexed anew"),
  };
  const onDiscarded = (why: string) => log.info({ why }, "the index of the audit log is made anew");
  let index: AuditIndex | undefined;
  let isDamaged = false;
  let opened = 0;
  let failures = 0;
  for (; !signal.aborted; await rest(backOffMs(intervalMs, failures))) {
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
      if (isBusy(error)) continue;
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
}
