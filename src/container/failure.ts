import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../errors.ts";
import { EngineRefusal } from "./modem.ts";

/** A broken connection is often the first sign of a lost machine; the engine's own report follows within this. */
const LOSS_GRACE_MS = 5000;

/**
 * The error that a caller gets for a failed operation of the container: the signal's reason when aborted (`broken` first: why
 * the container is of no more use), otherwise a GatewayError.
 */
export async function containerFailure(error: unknown, broken: AbortSignal, signal?: AbortSignal): Promise<unknown> {
  if (broken.aborted) return broken.reason;
  if (signal?.aborted) return signal.reason;
  if (error instanceof GatewayError) return error;
  if (error instanceof EngineRefusal) {
    if (/no space left on device|disk quota exceeded/i.test(error.message)) {
      return new GatewayError("DISK_FULL", "the sandbox's disk is full", { cause: error });
    }
    return new GatewayError("CONTAINER_FAILED", `the sandbox's engine refused: ${error.message}`, { cause: error });
  }
  if (isTimeout(error)) {
    return new GatewayError("CONTAINER_FAILED", "the sandbox's engine did not answer in time", { cause: error });
  }
  await abortOf(broken, LOSS_GRACE_MS);
  if (broken.aborted) return broken.reason;
  return new GatewayError("CONTAINER_FAILED", "the connection to the sandbox's engine broke", { cause: error });
}

/** Resolves when the signal aborts, or after `graceMs`; does not keep the process alive. */
async function abortOf(signal: AbortSignal, graceMs: number): Promise<void> {
  await sleep(graceMs, undefined, { signal, ref: false }).catch(() => undefined);
}

/** Whether a `deadline` ended it: its own error, or Node's, which has it as the cause. */
function isTimeout(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === "TimeoutError" || (error.name === "AbortError" && isTimeout(error.cause));
}
