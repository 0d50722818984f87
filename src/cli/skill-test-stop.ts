import { GatewayError } from "../errors.ts";

/** After this the process ends whatever is still going on; the next gateway cleans up after it. */
const EXIT_DEADLINE_MS = 4_500;

/** Aborts when the process is asked to end, so that the sandboxes are ended before it. */
export function stoppable(): { readonly signal: AbortSignal } & Disposable {
  const stop = new AbortController();
  const stopping = (why: NodeJS.Signals) => {
    if (stop.signal.aborted) return;
    stop.abort(new GatewayError("SHUTTING_DOWN", `the tests were stopped (${why})`));
    setTimeout(() => process.exit(2), EXIT_DEADLINE_MS).unref();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const it of signals) process.on(it, stopping);
  return {
    signal: stop.signal,
    [Symbol.dispose]: () => {
      for (const it of signals) process.off(it, stopping);
    },
  };
}
