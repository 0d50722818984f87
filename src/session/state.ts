import type { SessionState } from "./session.ts";

/** Where a session may go from each state; anything else is a bug in the gateway. */
const TRANSITIONS: Readonly<Record<SessionState, readonly SessionState[]>> = {
  opening: ["ready", "closing"],
  ready: ["lost", "closing"],
  lost: ["closing"],
  closing: ["closed"],
  closed: [],
};

export function canMove(from: SessionState, to: SessionState): boolean {
  return TRANSITIONS[from].includes(to);
}
