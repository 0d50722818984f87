import type { SessionGrant } from "../approval/approval.ts";
import type { Container } from "../container/container.ts";
import type { SessionEgress } from "../egress/egress.ts";
import type { ExposedPort } from "../egress/previews.ts";
import type { Refusal } from "../egress/traffic.ts";
import type { Attestation } from "../engine/attest.ts";
import type { MachineFacts } from "../engine/engine.ts";
import type { Profile } from "../policy/profile.ts";
import type { Principal } from "../policy/request.ts";
import type { Processes } from "./processes.ts";
import type { SnapshotSummary } from "./snapshots.ts";
import type { Turns } from "./turns.ts";

/** `state.ts` has the transitions. */
export type SessionState = "opening" | "ready" | "lost" | "closing" | "closed";

/** An open sandbox, as a capability sees it. */
export interface Session {
  readonly id: string;
  readonly container: Container;
  /** The programs started in it, running or lately ended. */
  readonly processes: Processes;
  /** What its programs reach, and don't. */
  readonly egress: SessionEgress;
  /** Changes of one path, one after the other; the key is the path. */
  readonly turns: Turns;
}

export interface SessionSummary {
  readonly sessionId: string;
  readonly name?: string;
  readonly state: SessionState;
  /** RFC 3339. */
  readonly openedAt: string;
  /** When it will be closed unless somebody calls it; RFC 3339. */
  readonly expiresAt: string;
  readonly runningProcesses: number;
  /** Present once the sandbox is ready. */
  readonly isolation?: { readonly machine: MachineFacts; readonly attestation: Attestation };
  /** Of one whose sandbox is ready. */
  readonly network?: NetworkSummary;
  /** What people have allowed for the rest of it. */
  readonly approved: readonly SessionGrant[];
  /** What the preparation is doing, while `opening`; why it ended, when `lost`. */
  readonly detail?: string;
}

/** What a session's programs may reach, and what they tried in vain. */
export interface NetworkSummary {
  /** Hosts that a policy permits, as it names them; each may be narrowed further. */
  readonly grants: readonly string[];
  readonly openConnections: number;
  /** Reachable on this computer by who has their links. */
  readonly exposedPorts: readonly ExposedPort[];
  /** The latest. */
  readonly refusals: readonly Refusal[];
  /** Of packages that have entered, in the order in which they did; absent where the profile permits none. */
  readonly packages?: readonly string[];
}

/** A principal's sessions. Ids of another principal's are as unknown as ids that never were: SESSION_NOT_FOUND. */
export interface Sessions {
  readonly profile: Profile;
  /** Opens a new one and waits until it is ready. @throws GatewayError SESSION_LIMIT, and whatever opening throws */
  open(options: {
    principal: Principal;
    name?: string;
    signal: AbortSignal;
    progress: (message: string) => void;
  }): Promise<SessionSummary>;
  /** @throws GatewayError SESSION_NOT_FOUND */
  close(principal: Principal, sessionId: string): Promise<void>;
  /** Ends the sandbox (the default one when no id is given) and opens a fresh one under the same id. */
  reset(options: {
    principal: Principal;
    sessionId?: string;
    signal: AbortSignal;
    progress: (message: string) => void;
  }): Promise<SessionSummary>;
  list(principal: Principal): readonly SessionSummary[];
  readonly snapshots: SessionSnapshots;
  /** The default session (no id) that has not been opened has no summary. @throws GatewayError SESSION_NOT_FOUND */
  status(principal: Principal, sessionId?: string): SessionSummary | undefined;
}

interface OfSession {
  readonly principal: Principal;
  /** The default one when it is left out. */
  readonly sessionId?: string;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** Sandboxes as they were: in memory, with programs that run, and on disk. Names are the principal's own. */
export interface SessionSnapshots {
  list(principal: Principal): Promise<readonly SnapshotSummary[]>;
  /** The session goes on, with a pause. @throws GatewayError SNAPSHOT_EXISTS, SNAPSHOT_LIMIT, SESSION_NOT_FOUND, MACHINE_LOST, DISK_FULL */
  take(options: OfSession & { snapshot: string }): Promise<SnapshotSummary>;
  /**
   * Replaces the session's sandbox by the snapshot's, under the same id. Until that has succeeded the session keeps the one it has.
   * @throws GatewayError SNAPSHOT_NOT_FOUND, SNAPSHOT_UNUSABLE, SESSION_NOT_FOUND, and whatever opening throws
   */
  restore(options: OfSession & { snapshot: string }): Promise<SessionSummary>;
  /** Opens another session: as the snapshot has it, or as this session is now. @throws GatewayError as `take` and `open` */
  fork(options: OfSession & { snapshot?: string; name?: string }): Promise<SessionSummary>;
  /** @throws GatewayError SNAPSHOT_NOT_FOUND */
  delete(principal: Principal, snapshot: string): Promise<void>;
}

/** One call's hold on its session: while it lasts the session does not expire. */
export interface Lease extends AsyncDisposable {
  /** Of the machine that the session is in, once the call has asked for it and it is open. */
  readonly machineId: string | undefined;
  /**
   * The open session, opened now if need be. While it takes long, rejects with STILL_PREPARING after a while (the opening goes
   * on for the next call). @throws GatewayError SESSION_NOT_FOUND, MACHINE_LOST, and whatever opening throws
   */
  session(signal: AbortSignal, progress: (message: string) => void): Promise<Session>;
}

/** All sessions of a gateway, for the spine. */
export interface SessionTable extends Sessions {
  /** The id that a call names: the given one, or the principal's default session's, which need not be open yet. */
  idOf(principal: Principal, sessionId: string | undefined): string;
  lease(principal: Principal, sessionId: string | undefined, callId: string): Lease;
}
