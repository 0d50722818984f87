import type { Logger } from "../log.ts";
import type { Admission } from "./admission.ts";
import { runOnce } from "./rehearse.ts";
import type { OpenSandbox, Sandbox } from "./sandbox.ts";

/** How long an opened sandbox counts as demand. */
const DEMAND_MS = 10 * 60_000;
/** After a sandbox was handed out the computer is busy with it: the next one is made a little later. */
const REFILL_DELAY_MS = 2_000;
const PAUSE_TIMEOUT_MS = 10_000;
const WAKE_TIMEOUT_MS = 10_000;

export interface PoolPorts {
  readonly openSandbox: OpenSandbox;
  /** Whether it is what would be opened now; a new image may have been built since. */
  readonly isCurrent: (sandbox: Sandbox) => Promise<boolean>;
  readonly admission: Admission;
  readonly log: Logger;
  /** The most sandboxes that wait ready; 0: none. */
  readonly maxSpares: number;
}

/** Sandboxes of one profile: opened when they are asked for, or waiting ready. */
export interface Pool extends AsyncDisposable {
  readonly open: OpenSandbox;
}

/**
 * Keeps sandboxes ready: attested, paused, and used by nobody yet. Each is handed out once. There are as many as were opened
 * lately, up to `maxSpares`, and none in a gateway that nobody has used for ten minutes; none is made while a session waits to be
 * opened, or when memory is short.
 */
export function createPool({ openSandbox, isCurrent, admission, log, maxSpares }: PoolPorts): Pool {
  const spares = new Set<Sandbox>();
  const ending = new AbortController();
  let opened: number[] = [];
  let opening = 0;
  let filling: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const wanted = (): number => {
    opened = opened.filter((it) => performance.now() - it < DEMAND_MS);
    return Math.min(maxSpares, opened.length);
  };

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (ending.signal.aborted || maxSpares === 0) return;
    timer = setTimeout(() => {
      filling ??= adjust().finally(() => {
        filling = undefined;
        if (spares.size > 0) schedule(DEMAND_MS / 10);
      });
    }, delayMs);
    timer.unref();
  }

  async function adjust(): Promise<void> {
    for (const spare of [...spares].slice(wanted())) await drop(spare);
    while (spares.size < wanted() && opening === 0 && !ending.signal.aborted) {
      using place = admission.tryAdmit();
      if (!place) return;
      try {
        await add();
      } catch (error) {
        if (!ending.signal.aborted) log.warn({ err: error }, "no sandbox was made ready");
        return;
      }
    }
  }

  async function add(): Promise<void> {
    const sandbox = await openSandbox({ signal: ending.signal, progress: () => undefined });
    try {
      // What a program costs at first, this one has paid.
      await runOnce(sandbox.container, ["true"], ending.signal);
      await sandbox.pause(AbortSignal.timeout(PAUSE_TIMEOUT_MS));
      ending.signal.throwIfAborted();
    } catch (error) {
      await sandbox[Symbol.asyncDispose]();
      throw error;
    }
    spares.add(sandbox);
    const onLost = () => void (spares.has(sandbox) && drop(sandbox));
    sandbox.lost.addEventListener("abort", onLost, { once: true });
  }

  /** Rejects never: whoever drops a sandbox has no use for why it did not end well. */
  async function drop(sandbox: Sandbox): Promise<void> {
    spares.delete(sandbox);
    try {
      await sandbox[Symbol.asyncDispose]();
    } catch (error) {
      log.error({ err: error, machineId: sandbox.machineId }, "a sandbox that waited was not cleaned up");
    }
  }

  async function take(signal: AbortSignal): Promise<Sandbox | undefined> {
    for (const sandbox of spares) {
      spares.delete(sandbox);
      try {
        if (!(await isCurrent(sandbox))) throw new Error("the image has changed since it was opened");
        await sandbox.resume(AbortSignal.any([signal, AbortSignal.timeout(WAKE_TIMEOUT_MS)]));
        return { ...sandbox, pooled: true };
      } catch (error) {
        await drop(sandbox);
        signal.throwIfAborted();
        log.warn({ err: error }, "a sandbox that waited could not be used");
      }
    }
    return undefined;
  }

  return {
    async open(options) {
      options.signal.throwIfAborted();
      opened.push(performance.now());
      opening += 1;
      try {
        const spare = await take(options.signal);
        if (spare) return spare;
        using _place = await admission.admit(options);
        return await openSandbox(options);
      } finally {
        opening -= 1;
        schedule(REFILL_DELAY_MS);
      }
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      ending.abort(new Error("the pool is closed"));
      await filling;
      await Promise.all([...spares].map(drop));
    },
  };
}
