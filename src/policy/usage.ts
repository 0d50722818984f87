/**
 * What has been used lately, over sliding windows that end now. `calls` are those that were permitted, `runSeconds` how long they took
 * together, `egressBytes` what the sandbox has sent and received, `packages` files of packages that have entered.
 */
export const USAGE_FACTS = [
  "callsLastMinute",
  "callsLastHour",
  "callsLastDay",
  "runSecondsLastHour",
  "runSecondsLastDay",
  "egressBytesLastHour",
  "egressBytesLastDay",
  "packagesLastHour",
  "packagesLastDay",
] as const;
export type UsageFact = (typeof USAGE_FACTS)[number];
export type Usage = Readonly<Record<UsageFact, number>>;

/** Of who calls, and of the session that the call is for. */
export interface UsageFacts {
  readonly principal: Usage;
  readonly session: Usage;
  /** Of the principal, open now. */
  readonly openSessions: number;
  /** Whether the session that the request is for is among them: if not, the request may open it. */
  readonly sessionIsOpen: boolean;
}

const NOTHING = Object.fromEntries(USAGE_FACTS.map((it) => [it, 0])) as Usage;

/** Of somebody who has done nothing yet; what would-be calls are decided with. */
export const NO_USAGE: UsageFacts = { principal: NOTHING, session: NOTHING, openSessions: 0, sessionIsOpen: false };
