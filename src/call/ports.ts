import type { Approvals } from "../approval/approval.ts";
import type { Bodies } from "../audit/bodies/bodies.ts";
import type { AuditWriter } from "../audit/record.ts";
import type { Accounts } from "../budget/accounts.ts";
import type { Capability, Outcome } from "../capability/capability.ts";
import type { GatewayError } from "../errors.ts";
import type { TraceContext } from "../lib/trace-context.ts";
import type { Logger } from "../log.ts";
import type { Mounts } from "../mounts/mounts.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyInForce } from "../policy/layer.ts";
import type { Principal } from "../policy/request.ts";
import type { SessionTable } from "../session/session.ts";

/** What the spine stands on; `gateway.ts` fills it in. */
export interface CallPorts {
  readonly find: (tool: string) => Capability | undefined;
  /** Policy's word at that moment, and what its budgets count. */
  readonly accounts: Pick<Accounts, "asked" | "reserve" | "run" | "relief">;
  readonly policy: PolicyInForce;
  readonly approvals: Approvals;
  readonly audit: AuditWriter;
  /** Asked where policy has bodies kept. */
  readonly bodies: Bodies;
  readonly sessions: SessionTable;
  readonly mounts: Mounts;
  readonly log: Logger;
}

export interface CallRequest {
  readonly tool: string;
  /** As the client sent them: nothing about them is known. */
  readonly args: unknown;
  readonly principal: Principal;
  /** For the record alone. */
  readonly trace?: TraceContext;
  /** For the record alone. */
  readonly requestId?: string;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

export interface Denial {
  readonly decision: Decision;
  /** Why a person did not let through what policy leaves to one. */
  readonly unapproved?: string;
  /** Of a budget that is used up: when there is some of it again. */
  readonly relief?: string;
}

export type CallResult =
  | { readonly kind: "done"; readonly callId: string; readonly outcome: Outcome<unknown> }
  | ({ readonly kind: "denied"; readonly callId: string } & Denial)
  | { readonly kind: "failed"; readonly callId: string; readonly error: GatewayError };
