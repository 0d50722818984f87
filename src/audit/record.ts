import type { TraceContext } from "../lib/trace-context.ts";
import type { BundleIdentity, DecidingPolicy, ShadowDecision } from "../policy/decision.ts";
import type { Principal } from "../policy/request.ts";

/** JSON as RFC 8785 serialises it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A body of a call as it is kept beside the log: see `bodies/`. Its digest is that of the encrypted file, and says nothing of what is in it. */
export interface KeptBody {
  /** The key that it is encrypted with, by which it is found. */
  readonly keyId: string;
  /** Of the file. */
  readonly bytes: number;
  readonly sha256: string;
  /** It was too long, and its end is not kept. */
  readonly truncated?: true;
}

/** One that could not be kept, and why. */
export interface LostBody {
  readonly lost: string;
}

/** What was asked, in the words of the call, after redaction; large bodies are digests and sizes. */
export interface IntentBody {
  readonly kind: "intent";
  readonly callId: string;
  readonly principal: Principal;
  readonly tool: string;
  /** Redacted arguments; for a call whose arguments do not fit the schema, what could be kept of them. */
  readonly arguments: Json;
  readonly sessionId?: string;
  /** `invalid`: the arguments do not fit; policy was not asked. `ask`: it runs if an `approval-given` of this call follows. */
  readonly decision: "permit" | "deny" | "ask" | "invalid";
  readonly policies: readonly DecidingPolicy[];
  readonly problems: readonly string[];
  readonly bundle: BundleIdentity;
  /** What those in shadow mode would have decided. */
  readonly shadow?: readonly ShadowDecision[];
  /** What policy saw besides the principal, so that the decision can be made again: see `policy/replay.ts`. */
  readonly request?: Json;
  /** Where the caller's trace goes on, by the caller's word; policy never sees it. */
  readonly trace?: TraceContext;
  /** The client's own number for the request; its word as well. */
  readonly requestId?: string;
  /** Where policy has them kept: the whole arguments, on disk before this record; or why that could not be: then the call is refused. */
  readonly bodies?: { readonly arguments: KeptBody | LostBody };
}

/** How a call ended: exactly one for each permitted intent. */
export interface OutcomeBody {
  readonly kind: "outcome";
  readonly callId: string;
  readonly sessionId?: string;
  /** The machine in which it ran, of a call that used one: a session may have had another before. */
  readonly machineId?: string;
  /** As the intent has it. */
  readonly trace?: TraceContext;
  readonly status: "ok" | "error" | "interrupted";
  /** Error code, when `status` is `error`. */
  readonly code?: string;
  readonly durationMs: number;
  /** Digests, sizes, exit codes: facts of the result, never its body. */
  readonly facts: Json;
  /** Where policy has them kept: what the client was given; or why that could not be: then it was given an error instead. */
  readonly bodies?: { readonly result: KeptBody | LostBody };
}

export const EVENTS = [
  /** Facts `{ version, pid, user, host, platform, bundle, skills, digestKey }`: the check value of the key of keyed digests. */
  "gateway-started",
  "gateway-stopped",
  /** Facts `{ name?, principal, machineId, image, pooled, machine, attestation }`: `image` is the digest of the guest's image, `machine` names the engine. */
  "session-opened",
  "session-closed",
  /** Its sandbox was written to disk, and its machine ended; facts `{ machineId }`. */
  "session-hibernated",
  /** It goes on in another machine, whose facts are as in `session-opened`. */
  "session-woken",
  /** Is there, and not used; facts `{ directory, why: […], skill?, digest? }`. */
  "skill-refused",
  "session-lost",
  "session-refused",
  /**
   * Looked at from outside of its container, when somebody asked for it; facts `{ state }`, of one that could be looked at `{ state: "inspected",
   * machineId, running, container, engine, machine, weaker: […] }`: `container` and `engine` are the word of the machine's own container
   * engine, `machine` is what the host sees of its process, and `weaker` in which ways that is less than was demanded; `unseen`: `{ code, problem,
   * weaker? }`, the last where an answer that nobody can trust ended the sandbox.
   */
  "session-inspected",
  "process-ended",
  /** A program in the sandbox is let through: before a byte leaves; facts `{ connectionId, host, port, scheme, policies, calls, approvalId? }`. */
  "connection-opened",
  /** Facts `{ connectionId, host, port, address?, sentBytes, receivedBytes, durationMs, requests?, filledIn? }`; the last are names of secrets. */
  "connection-closed",
  /** Facts `{ host, port, reason, policies, calls }`, and how many before were not recorded, when there were too many. */
  "connection-refused",
  /** As `connection-refused`: a secret, or another session's placeholder, was on its way to where it does not belong. */
  "placeholder-refused",
  /** A file of a package enters the sandbox: before its last byte; facts as in `admitted.ts`. */
  "package-admitted",
  /** It does not; facts as `Refused` in `packages/session-packages.ts`, with `calls`, and the `advisories` by which it was decided. */
  "package-refused",
  /** By a person, at the command line; facts `{ imported: [{ ecosystem, records, digest }], by }`. */
  "advisories-imported",
  /** A port of the sandbox can be reached on this computer's loopback, by who has its link; facts `{ port, hostPort }`. */
  "port-exposed",
  /** Facts `{ port, hostPort, requests, refused }`: how many requests went into the sandbox, and how many did not. */
  "port-closed",
  /** By a person, at the command line; an agent's deletion is a call. */
  "snapshot-deleted",
  /** A receiver of the log takes nothing, or a chain can't be shipped; once an outage; facts `{ sink, target?, problem }`. */
  "logging-failed",
  /** Facts `{ sink, target?, outageMs }`. */
  "logging-recovered",
  "reconciled",
  "log-recovered",
  /**
   * First record of every segment but the first; facts `{ openCalls: string[], tree?, sealedIn? }`: permitted and without an outcome so far; the
   * Merkle tree over all records before; the segment that has the latest `log-truncated`.
   */
  "segment-started",
  /** Another policy is in force; facts `{ bundle, previous? }`. */
  "policy-loaded",
  /** A policy can't be used; facts `{ code, message, inForce? }`: what stays in force. */
  "policy-rejected",
  /** A person is asked; facts `{ approvalId, digest, action, details, policies, channels, expiresAt }`. */
  "approval-requested",
  /** With a `callId`, of a call whose decision was `ask`: it runs. Facts `{ approvalId, digest, approver, channel, scope, pattern?, comment? }`. */
  "approval-given",
  /**
   * Facts `{ action, approvalId?, digest?, why, approver?, channel?, comment? }`; of an answer that does not count, while the wait goes on,
   * `{ approvalId, digest, why: "invalid", problem, approver?, channel }`.
   */
  "approval-refused",
  /** Which key signs from here on; facts `{ verifier, rotations }`: its public half, and how it follows from the keys before it. */
  "audit-key",
  /** All records of the chain before it are signed; facts `{ note, tree? }`: see `proof/checkpoint.ts`; the tree of which the note has the root. */
  "checkpoint",
  /** By a person, at the command line, with no gateway running; facts `{ from, to, note }`: both keys, and both signatures of the change. */
  "audit-key-rotated",
  /** The chain's oldest segments are about to be removed, for their age; facts as in `truncate/seal.ts`. */
  "log-truncated",
  /**
   * Bodies of calls become unreadable: before their keys go; facts `{ why, by?, keyIds, bodies, bytes }`, `why` being `person`, at the command line,
   * or `retention`.
   */
  "bodies-erased",
] as const;

/** Events of hashes, signatures and public keys. They are written as they are: a rule that looks for secrets could find one in them by chance. */
export const PROOF_EVENTS: readonly (typeof EVENTS)[number][] = [
  "audit-key",
  "checkpoint",
  "audit-key-rotated",
  "log-truncated",
];

/** Things that happen to the gateway and its sessions rather than in a call. */
export interface EventBody {
  readonly kind: "event";
  readonly event: (typeof EVENTS)[number];
  readonly sessionId?: string;
  readonly callId?: string;
  readonly facts: Json;
}

export type RecordBody = IntentBody | OutcomeBody | EventBody;

/** One line of the log. `hash` is SHA-256 of the RFC 8785 form of the record without `hash`. */
export interface AuditRecord {
  readonly version: 1;
  /** The chain's id: one gateway writes one chain at a time. */
  readonly chain: string;
  /** From 0, without gaps. */
  readonly seq: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** The gateway process that wrote it. */
  readonly gateway: string;
  /** `hash` of the record before; 64 zeros for the first. */
  readonly prev: string;
  readonly body: RecordBody;
  readonly hash: string;
}

/** What the spine needs of the log. `append` resolves when the record is on disk. @throws GatewayError AUDIT_UNWRITABLE */
export interface AuditWriter {
  append(body: RecordBody): Promise<void>;
}
