import type { Decision } from "../policy/decision.ts";
import type { UsageFacts } from "../policy/usage.ts";
import type { Counter } from "./windows.ts";

/** Whose budget, and which session's. */
export interface Spender {
  readonly principalId: string;
  readonly sessionId: string;
}

/**
 * What principals and their sessions have used, over sliding windows and over all gateways that share the file. Everything here is
 * synchronous: between a look at what was used and what is added there is no gap within a gateway.
 *
 * A clock that is set back frees nothing: time stands still until it has caught up. What is added late counts from then on, so that no
 * window ever shows less than the truth.
 *
 * Methods throw GatewayError BUDGETS_UNREADABLE when the file can't be read or written; `startRun`, those of `Meter` and disposals don't: what they
 * count is kept, and whoever asks next is refused.
 */
export interface Budgets extends Disposable {
  usage(of: Spender): UsageFacts;
  /**
   * Decides with what has been used, and counts one call when that lets it run: nobody else, in this gateway or another, looks or counts in
   * between, so that calls which come at once can't all be the last one. `decide` is synchronous and quick: other gateways wait for it.
   */
  reserve(of: Spender, decide: (usage: UsageFacts) => Decision, runs?: (decision: Decision) => boolean): Decision;
  /** `amount` is a whole number, not negative. */
  add(of: Spender, counter: Counter, amount: number): void;
  /**
   * Counts a session as open until disposal, or the end of this gateway, however that comes.
   * @throws GatewayError SESSION_LIMIT when the principal has `atMost` others open already
   */
  openSession(of: Spender, atMost?: number): Disposable;
  /** Counts the time that passes until disposal, while it passes: for this gateway at once, for others every ten seconds. */
  startRun(of: Spender): Disposable;
  meter(of: Spender): Meter;
  /**
   * When a fact of these names (`principal.callsLastHour`, `session.…`) is smaller than `limit`, or else than it is now, if nothing more is used;
   * of several, the first. `undefined` when time changes none of them. Milliseconds since 1970.
   */
  freesAt(names: readonly string[], of: Spender, limit?: number): number | undefined;
  /** The time that the windows end at. Milliseconds since 1970. */
  nowMs(): number;
}

/** Counts bytes of egress as they flow: for this gateway at once, for others when they are written, a moment later. */
export interface Meter {
  add(bytes: number): void;
  /** Writes what is not written yet. */
  flush(): void;
}
