const LEAST_MS = 250;
const MOST_MS = 60_000;
/** However long a receiver asks to be left alone. */
const MOST_ASKED_MS = 300_000;

/**
 * How long to wait after so many failures in a row: exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", 2015),
 * but at least what the receiver asked for, within reason.
 * @param random in [0, 1)
 */
export function waitMs(failures: number, retryAfterMs = 0, random = Math.random()): number {
  const ceiling = Math.min(MOST_MS, LEAST_MS * 2 ** Math.min(failures - 1, 30));
  return Math.max(random * ceiling, Math.min(retryAfterMs, MOST_ASKED_MS));
}
