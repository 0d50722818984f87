import { abortable } from "../lib/deadline.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyRequest } from "../policy/request.ts";
import type { PolicyQuestion, Verdict } from "../policy/verdict.ts";
import type { Approvals, AskPerson } from "./approval.ts";
import { detailsOf } from "./details.ts";
import { cancelled } from "./refusals.ts";

/** Whether what a person approved under one decision may go on under the one of now: if it asks, the same policies of the same bundle do. */
export function stillApproved(now: Decision, approved: Decision): boolean {
  if (now.outcome === "permit") return true;
  return now.outcome === "ask" && now.bundle.digest === approved.bundle.digest && isAskedByNoOther(approved, now);
}

/** What becomes by now of something that was permitted, by policy or by a person; what a person let through stays theirs. */
export function standingOf(before: Verdict, now: Verdict): Verdict {
  if (!now.question) return now;
  const { question, policies, reason } = now;
  const answered = before.question !== undefined && isAskedByNoOther(before.question.decision, question.decision);
  return answered ? { permitted: true, reason: "", policies } : { permitted: false, reason, policies };
}

function isAskedByNoOther(asked: Decision, now: Decision): boolean {
  const of = ({ policies }: Decision) => policies.map(({ layer, id }) => `${layer ?? ""} ${id}`);
  const known = new Set(of(asked));
  return of(now).every((it) => known.has(it));
}

/** Asks about what a session's programs do by themselves, and policy again when the person has answered: it may be another one by now. */
export function asksFor(
  sessionId: string,
  { approvals, decide }: { readonly approvals: Approvals; readonly decide: (request: PolicyRequest) => Decision },
): AskPerson {
  return async (question, signal) => {
    const { request, decision } = question;
    const details = detailsOf(request.action, undefined, request);
    const approval = await approvals.approve({ ...question, sessionId, details }, signal, () => undefined);
    if (!approval.approved || stillApproved(decide(request), decision)) return approval;
    return cancelled("the policy was changed meanwhile");
  };
}

/** The verdict after a person was asked, where it leaves it to one. @throws GatewayError AUDIT_UNWRITABLE */
export async function settled(verdict: Verdict, ask: AskPerson, signal: AbortSignal): Promise<Verdict> {
  const { question, policies } = verdict;
  return question ? verdictAfter(await ask(question, signal), policies) : verdict;
}

function verdictAfter(approval: Awaited<ReturnType<AskPerson>>, policies: Verdict["policies"]): Verdict {
  if (!approval.approved) return { permitted: false, reason: approval.text, policies };
  return { permitted: true, reason: "", policies, approvalId: approval.approvalId };
}

/**
 * Asks about each key once: what a person has permitted stays so, and who asks meanwhile waits for the same answer, but for nobody who
 * gives up.
 */
export function settlingOnce(ask: AskPerson, keyOf: (question: PolicyQuestion) => string) {
  const waiting = new Map<string, { readonly after: Promise<Verdict>; readonly signal: AbortSignal }>();
  /** By key, the verdict after the answer. */
  const permitted = new Map<string, Verdict>();
  return {
    /** How many were permitted: what was decided before is not what is decided now. */
    get count() {
      return permitted.size;
    },
    known: (verdict: Verdict): Verdict => {
      const { question } = verdict;
      return (question && permitted.get(keyOf(question))) ?? verdict;
    },
    /** @throws GatewayError AUDIT_UNWRITABLE, and the signal's reason */
    settle: async (verdict: Verdict, signal: AbortSignal): Promise<Verdict> => {
      const { question } = verdict;
      if (!question) return verdict;
      const key = keyOf(question);
      for (let other = waiting.get(key); other; other = waiting.get(key)) {
        const after = await abortable(other.after, signal);
        if (after.permitted || !other.signal.aborted) return after;
      }
      const known = permitted.get(key);
      if (known) return known;
      const after = settled(verdict, ask, signal);
      waiting.set(key, { after, signal });
      try {
        const result = await after;
        if (result.permitted) permitted.set(key, result);
        return result;
      } finally {
        waiting.delete(key);
      }
    },
  };
}
