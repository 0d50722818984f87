import type { Machine } from "../engine/engine.ts";
import type { SessionPackages } from "../packages/session-packages.ts";
import type { Principal } from "../policy/request.ts";
import type { Previews } from "./previews.ts";
import type { Refusal } from "./traffic.ts";

/** One session's network: all that leaves its sandbox, or is let in, goes by here. Disposal ends every connection. */
export interface SessionEgress extends Disposable {
  /** Takes the connections of this machine from now on, until it is lost; of one machine at a time. */
  attach(machine: Pick<Machine, "connect" | "condemn" | "trust" | "lost">, signal: AbortSignal): Promise<void>;
  /** Variables for the session's programs: placeholders of its secrets. */
  readonly environment: Readonly<Record<string, string>>;
  /** Hosts that a policy permits, as it names them. */
  readonly grants: readonly string[];
  /** What enters from package registries; absent when the profile permits none. */
  readonly packages: SessionPackages | undefined;
  /** The way in, from this computer. */
  readonly previews: Previews;
  /** How many connections are open. */
  readonly open: number;
  /** What was refused lately, for the results of calls: those after `mark`. */
  readonly mark: number;
  refusalsSince(mark: number): readonly Refusal[];
}

/** Whose network it is, and what that session does for it. */
export interface EgressOf {
  readonly sessionId: string;
  readonly principal: Principal;
  /** Names the calls that a connection can be due to. */
  readonly callsRunning: () => readonly string[];
  /** Ends the session, and says why. */
  readonly end: (why: string) => void;
  /** Wakes the sandbox if it sleeps, and keeps it awake until disposal. @throws GatewayError STILL_PREPARING, MACHINE_LOST, SESSION_CLOSED */
  readonly use: (signal: AbortSignal) => Promise<Disposable>;
}

export type OpenEgress = (of: EgressOf) => SessionEgress;
