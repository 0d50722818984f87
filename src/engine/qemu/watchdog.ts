import { performance } from "node:perf_hooks";
import type { Acceleration } from "./command-line.ts";

/** Both in milliseconds. */
export interface BootLimits {
  /** The longest time without a sign of life: a console byte or a step of the channel. */
  readonly silentMs: number;
  readonly totalMs: number;
}

/** Generous: a loaded computer with two cores and no hardware virtualisation needs five times as long as an idle one. */
export function bootLimits(acceleration: Acceleration): BootLimits {
  return acceleration === "tcg" ? { silentMs: 60_000, totalMs: 150_000 } : { silentMs: 15_000, totalMs: 45_000 };
}

/** `expired` aborts when the boot is silent or takes too long; the reason is a sentence. */
export interface Watchdog extends Disposable {
  readonly expired: AbortSignal;
  signOfLife(): void;
}

export function startWatchdog(limits: BootLimits): Watchdog {
  const controller = new AbortController();
  const started = performance.now();
  let last = started;
  const timer = setInterval(
    () => {
      const now = performance.now();
      if (now - last > limits.silentMs) controller.abort(`no sign of life for ${limits.silentMs / 1000} s`);
      else if (now - started > limits.totalMs) controller.abort(`not ready after ${limits.totalMs / 1000} s`);
    },
    Math.min(500, limits.silentMs / 4),
  );
  return {
    expired: controller.signal,
    signOfLife() {
      last = performance.now();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
