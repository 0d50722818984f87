import type { BundleIdentity, ChannelName, DecidingPolicy, Decision } from "../policy/decision.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import type { PolicyQuestion } from "../policy/verdict.ts";

/** A line of what an approver is shown. What the agent chose is in `text`, whole, with control characters made visible. */
export interface Detail {
  readonly label: string;
  readonly text: string;
}

/** What a person is asked. Nothing in it can be changed without changing its digest. */
export interface Question {
  /** `apr_…`, unguessable. */
  readonly id: string;
  /** Lower-case hexadecimal SHA-256 of call, policies and session: an answer must name it. */
  readonly digest: string;
  readonly sessionId: string;
  readonly principal: Principal;
  /** Absent for what a program in the sandbox does by itself. */
  readonly callId?: string;
  /** The Cedar action. */
  readonly action: string;
  readonly details: readonly Detail[];
  /** Those that ask, with their reasons. */
  readonly policies: readonly DecidingPolicy[];
  readonly bundle: BundleIdentity;
  /** What would be let through for the rest of the session, in words; absent where a pattern is not to be had. */
  readonly pattern?: string;
  /** RFC 3339. */
  readonly askedAt: string;
  readonly expiresAt: string;
}

/** What came back. Whoever gives it has shown who it comes from; the desk still checks digest, expiry and single use. */
export interface Answer {
  readonly questionId: string;
  readonly digest: string;
  readonly verdict: "allow" | "deny";
  /** `session`: also what fits the pattern, as long as the session lasts. */
  readonly scope: "call" | "session";
  /** `local:ada`, `slack:U024BE7LH`: never the agent. */
  readonly approver: string;
  readonly comment?: string;
}

/** A way to ask a person. */
export interface Channel {
  readonly name: ChannelName;
  /**
   * Puts the question and waits; resolves with `undefined` where nobody can be asked by this way. `signal` aborts when the question is no
   * longer open (answered elsewhere, expired, call given up): its reason says how it ended, and the channel takes the question back.
   * @throws GatewayError APPROVAL_CHANNEL_FAILED
   */
  ask(question: Question, signal: AbortSignal): Promise<Answer | undefined>;
}

/** What needs an approval. */
export interface Asked {
  readonly request: PolicyRequest;
  /** Its outcome is `ask`. */
  readonly decision: Decision;
  readonly sessionId: string;
  readonly callId?: string;
  /** Exact arguments, paths, packages, host. */
  readonly details: readonly Detail[];
}

export type Approval =
  | {
      readonly approved: true;
      readonly approvalId: string;
      readonly approver: string;
      /** `grant`: something like it was allowed for the session before. */
      readonly channel: ChannelName | "grant";
    }
  | {
      readonly approved: false;
      readonly why: "denied" | "expired" | "cancelled" | "unreachable" | "too-many";
      /** For the model and its person: what happened, and what to do. */
      readonly text: string;
    };

/** Has a person decide what a program in the sandbox does by itself. @throws GatewayError AUDIT_UNWRITABLE */
export type AskPerson = (question: PolicyQuestion, signal: AbortSignal) => Promise<Approval>;

/** A permission that a person gave for the rest of a session. */
export interface SessionGrant {
  readonly approvalId: string;
  readonly pattern: string;
  readonly approver: string;
  readonly grantedAt: string;
  readonly expiresAt: string;
}

/** Asks people, and remembers what they allowed. Every question and every answer is on record before anything follows from it. */
export interface Approvals {
  /** Never rejects but when the audit log can't be written. */
  approve(asked: Asked, signal: AbortSignal, progress: (message: string) => void): Promise<Approval>;
  /** Of a session, those that hold now. */
  grants(sessionId: string): readonly SessionGrant[];
  /** A session has ended: its grants go, its questions are taken back. */
  forget(sessionId: string): void;
}
