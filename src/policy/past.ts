import type { BundleIdentity, Decision } from "./decision.ts";
import type { PolicyRequest } from "./request.ts";

/** What the log does not have of a decision, and is taken to be as it usually is. */
export const ASSUMPTIONS = {
  scheme: "a refused connection: its scheme is taken from its port",
  package:
    "a package: what the log does not have (advisories, install scripts, withdrawn versions) is taken to be harmless",
  redacted: "a secret, or a field that policy keeps out of the log, was cut out of what policy saw",
  digest:
    "the log has a keyed digest, of something short or not kept whole, where policy saw a plain one: it is taken for one that no policy names",
} as const;
export type Assumption = keyof typeof ASSUMPTIONS;

/** A decision that was made, as the log has it. Texts in it were chosen by agents. */
export interface PastDecision {
  /** RFC 3339. */
  readonly time: string;
  readonly callId?: string;
  readonly sessionId?: string;
  /** `ask` whatever the person answered. */
  readonly decided: Decision["outcome"];
  /** Ids of those that determined it. */
  readonly policies: readonly string[];
  /** In force when it was decided; a connection or a package does not say. */
  readonly bundle?: BundleIdentity;
  readonly request: PolicyRequest;
  /** Of a call, as the log keeps them; a connection or a package has none. */
  readonly arguments?: unknown;
  readonly assumed: readonly Assumption[];
}
