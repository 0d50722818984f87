import { NOT_GRANTED } from "./connect.ts";
import type { Decision } from "./decision.ts";
import type { PolicyRequest } from "./request.ts";

/** Policy's word on something that a program in the sandbox does by itself: a connection, a request, a package. */
export interface Verdict {
  readonly permitted: boolean;
  /** Why not, in words; empty when it is. */
  readonly reason: string;
  /** Ids of the policies that decided; none when nothing grants it. */
  readonly policies: readonly string[];
  /** Of what a person has permitted: by which answer. */
  readonly approvalId?: string;
  /** Of what is not permitted, but a person may permit. */
  readonly question?: PolicyQuestion;
}

/** A request whose decision is `ask`. */
export interface PolicyQuestion {
  readonly request: PolicyRequest;
  readonly decision: Decision;
}

export function verdictOf(request: PolicyRequest, decision: Decision): Verdict {
  const { outcome, policies, problems } = decision;
  const ids = policies.map((it) => it.id);
  if (outcome === "permit") return { permitted: true, reason: "", policies: ids };
  if (problems.length > 0)
    return { permitted: false, reason: `policy can't decide it: ${problems.join("; ")}`, policies: ids };
  const reasons = policies.map(({ id, reason }) => reason ?? id);
  const refused = { permitted: false, reason: reasons.join("; ") || NOT_GRANTED, policies: ids };
  return outcome === "ask" ? { ...refused, question: { request, decision } } : refused;
}

/** Whether it could come to be permitted. */
export function isOpen({ permitted, question }: Verdict): boolean {
  return permitted || question !== undefined;
}
