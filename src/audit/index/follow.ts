import { extname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { backOffMs } from "./back-off.ts";
// Its types alone: what indexes is loaded by the thread.
import type { KeepUpPorts } from "./keep-up.ts";

const INTERVAL_MS = 1_000;
/** A thread that lived longer than this has not failed at once. */
const LONG_MS = 60_000;
/** What is being written may take so long at the end; then it is broken off, and the next one does it again. */
const END_MS = 2_000;
/** A record may be made to be large in memory. */
const HEAP = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32 };
/** In a checkout the sources are what runs. */
const WORKER = new URL(`./follow-worker${extname(import.meta.url)}`, import.meta.url);

export interface FollowPorts extends Pick<KeepUpPorts, "path" | "auditDirectory" | "log"> {
  /** In place of a second: before the beginning, and between two looks at the log. */
  readonly intervalMs?: number;
}

/** What the thread is given. */
export type FollowPlaces = Pick<KeepUpPorts, "path" | "auditDirectory" | "intervalMs">;

/** What it says. */
export interface FollowMessage {
  readonly level: "info" | "warn";
  readonly facts: object;
  readonly message: string;
}

/**
 * Keeps an index up to date until disposal, in a thread of its own: what an agent has written into the log can take long to index, and calls are
 * answered meanwhile. It begins after a second, so that nobody waits for it who waits for the gateway. Never throws: it is logged what goes wrong,
 * and a thread that dies is made again. Whenever it ends, the index is whole.
 */
export function followIndex({ path, auditDirectory, log, intervalMs = INTERVAL_MS }: FollowPorts): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const rest = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
  const run = async () => {
    let deaths = 0;
    for (await rest(intervalMs); !signal.aborted; await rest(backOffMs(intervalMs, deaths))) {
      const startedMs = performance.now();
      const err = await thread({ path, auditDirectory, intervalMs }, log, signal).catch((error: unknown) => error);
      if (signal.aborted) return;
      deaths = performance.now() - startedMs > LONG_MS ? 1 : deaths + 1;
      log.warn({ err }, "the thread that indexes the audit log has died, and is made again");
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

/** @returns when the thread has ended, with what it died of */
async function thread(workerData: FollowPlaces, log: FollowPorts["log"], signal: AbortSignal): Promise<unknown> {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  // It reads the log and writes the index: no variable of the environment says anything of these. Standard output is MCP's.
  const options = { workerData, env: {}, execArgv: [], stdout: true, resourceLimits: HEAP };
  const worker = new Worker(WORKER, { ...options, name: "audit index" });
  let why: unknown;
  worker.stdout.resume();
  worker.on("message", ({ level, facts, message }: FollowMessage) => log[level](facts, message));
  worker.on("error", (error) => {
    why = error;
  });
  worker.once("exit", () => end());
  let timer: NodeJS.Timeout | undefined;
  const onAbort = () => {
    worker.postMessage("end");
    timer = setTimeout(() => void worker.terminate(), END_MS);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  await ended;
  signal.removeEventListener("abort", onAbort);
  clearTimeout(timer);
  return why;
}
