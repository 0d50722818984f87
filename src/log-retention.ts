import { setTimeout as sleep } from "node:timers/promises";
import type { AuditLog } from "./audit/log.ts";
import type { Signer } from "./audit/proof/signer.ts";
import type { Hide } from "./audit/redact-text.ts";
import { isClockSettled } from "./audit/truncate/clock.ts";
import { applyRetention, type ChainRetention } from "./audit/truncate/retention.ts";
import { readShipped } from "./audit/truncate/shipped.ts";
import type { Config } from "./config.ts";
import type { Logger } from "./log.ts";
import type { PolicyInForce } from "./policy/layer.ts";

const DAY_MS = 86_400_000;
/** So long after the start, so that nobody waits for it who waits for the gateway. */
const FIRST_MS = 2_000;

export interface LogRetentionPorts {
  readonly config: Pick<Config, "auditDirectory" | "dataDirectory">;
  readonly policy: PolicyInForce;
  /** The chain that this gateway writes. */
  readonly audit: AuditLog;
  readonly signer: Signer;
  /** Id of this gateway. */
  readonly gateway: string;
  /** Names of those that have to have a record before it goes; so do others that have a cursor in the data directory. */
  readonly sinks: readonly string[];
  readonly hide: Hide;
  readonly log: Logger;
  /** In place of two seconds: how long after the start. */
  readonly firstMs?: number;
}

/**
 * Keeps the log to what the policy says (`audit.retention.recordDays`), soon after the start and once a day, until disposal. Without that it only
 * finishes what a dead gateway had begun. Never throws: what goes wrong is logged, and tried again the next day.
 */
export function keepToRetention(ports: LogRetentionPorts): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const rest = (ms: number) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
  const run = async () => {
    await rest(ports.firstMs ?? FIRST_MS);
    for (; !signal.aborted; await rest(DAY_MS)) {
      try {
        await keepOnce(ports, signal);
      } catch (err) {
        if (!signal.aborted) ports.log.warn({ err }, "the audit log was not kept to its retention");
      }
    }
  };
  const running = run();
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await running;
    },
  };
}

async function keepOnce(ports: LogRetentionPorts, signal: AbortSignal): Promise<void> {
  const { config, audit, signer, gateway, hide, log } = ports;
  const { auditDirectory } = config;
  const { isShipped, slowest } = await readShipped(config, ports.sinks);
  const results = applyRetention({
    ...{ auditDirectory, signer, gateway, hide, own: audit, why: "retention", signal },
    beforeMs: await oldMs(ports),
    isShipped,
    // Calls come first: half of a core at most.
    pause: async (tookMs) => {
      await sleep(tookMs, undefined, { signal });
    },
  });
  for await (const result of results) tell(result, slowest(result.chain), log);
}

/** What is older goes; undefined: nothing does. */
async function oldMs({ policy, config, log }: LogRetentionPorts): Promise<number | undefined> {
  const { recordDays } = policy.current.profile.audit.retention;
  if (recordDays === undefined) return undefined;
  const nowMs = Date.now();
  if (await isClockSettled(config.auditDirectory, nowMs, recordDays * DAY_MS)) return nowMs - recordDays * DAY_MS;
  log.info({ recordDays }, "no old records are removed: the log has none by which to tell that the clock is right");
  return undefined;
}

function tell(
  { chain, removed, finished, kept, problem }: ChainRetention,
  sinks: readonly string[],
  log: Logger,
): void {
  if (problem !== undefined) log.warn({ chain, problem }, "the audit log's old records were not removed");
  if (finished !== undefined) log.info({ chain, segments: finished }, "a removal of old records was finished");
  if (kept === "unshipped") log.info({ chain, sinks }, "old records are kept: a receiver has not confirmed them");
  if (removed) {
    const { segments, records, bytes, newest } = removed;
    log.info({ chain, segments, records, bytes, newest }, "old records of the audit log were removed");
  }
}
