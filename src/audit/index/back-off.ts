/** However often it has failed. */
const MOST_MS = 60_000;

/** How long to wait after so many failures in a row. */
export function backOffMs(intervalMs: number, failures: number): number {
  return Math.min(MOST_MS, intervalMs * 2 ** Math.min(failures, 30));
}
