import type { KeptBody } from "../record.ts";

/** What went into a call, and what came out of it. */
export type BodyName = "arguments" | "result";

export interface BodyOf {
  /** Under whose keys it is kept: one that the gateway made, never a name that an agent made up. */
  readonly sessionId: string;
  readonly callId: string;
  /** By whose arguments' names policy keeps fields out. */
  readonly tool: string;
  readonly name: BodyName;
}

/** Keeps bodies of calls, encrypted, beside the log. */
export interface Bodies {
  /**
   * Resolves when the content is on disk, without secrets and encrypted, with what its record is to say of it. Each body of a call is kept once.
   * @throws GatewayError AUDIT_UNWRITABLE
   */
  keep(of: BodyOf, content: unknown): Promise<KeptBody>;
}

/** `<session id>/<day, UTC>-<8 hex digits>`: no key is ever made anew under the id of one that was erased. */
export const KEY_ID = /^([A-Za-z0-9-]{1,64})\/(\d{4}-\d\d-\d\d)-[0-9a-f]{8}$/;
