import { messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import type { Report } from "./status.ts";

/** Failures in a row, so many of which are more than a receiver that restarts. */
const OUTAGE_FAILURES = 3;
const MAX_CHARS = 1_000;

/** Something about a sink that belongs on record: an outage begins or ends, once each. */
export type SinkNews =
  | { readonly event: "logging-failed"; readonly target?: string; readonly problem: string }
  | { readonly event: "logging-recovered"; readonly target?: string; readonly outageMs: number };

/** How a sink does, over all chains. */
export interface Health {
  readonly lastSuccess: string | undefined;
  readonly lastError: { readonly message: string; readonly time: string } | undefined;
  /** What the process that shipped before has said, where this one knows nothing newer. */
  remember(before: Pick<Report, "lastSuccess" | "lastError"> | undefined): void;
  succeeded(): void;
  failed(error: unknown): void;
  /** Says what is news: `failures` are those in a row of the chain that has most, `stopped` are chains that are damaged. */
  review(state: { failures: number; stopped: readonly string[]; target: string | undefined }): SinkNews | undefined;
}

/** @param hide takes secrets out of what is said of a failure: it goes to a file, to the log, and with it to all other sinks */
export function createHealth(hide: (text: string) => string): Health {
  let lastSuccess: string | undefined;
  let lastError: Health["lastError"];
  let outageSinceMs: number | undefined;
  return {
    get lastSuccess() {
      return lastSuccess;
    },
    get lastError() {
      return lastError;
    },
    remember: (before) => {
      lastSuccess ??= before?.lastSuccess;
      lastError ??= before?.lastError;
    },
    succeeded: () => {
      lastSuccess = new Date().toISOString();
    },
    failed: (error) => {
      lastError = { message: printable(hide(messageOf(error)), MAX_CHARS), time: new Date().toISOString() };
    },
    review: ({ failures, stopped, target }) => {
      const [damage] = stopped;
      const to = target === undefined ? {} : { target };
      if (outageSinceMs === undefined) {
        if (damage === undefined && failures < OUTAGE_FAILURES) return undefined;
        outageSinceMs = performance.now();
        return { event: "logging-failed", ...to, problem: damage ?? lastError?.message ?? "" };
      }
      if (damage !== undefined || failures > 0) return undefined;
      const outageMs = Math.round(performance.now() - outageSinceMs);
      outageSinceMs = undefined;
      return { event: "logging-recovered", ...to, outageMs };
    },
  };
}
