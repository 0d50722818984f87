import { visible } from "../lib/visible.ts";
import type { DecidingPolicy } from "../policy/decision.ts";
import type { Approval } from "./approval.ts";
import type { Denial } from "./denials.ts";

export type Refusal = Extract<Approval, { approved: false }>;

const MAX_COMMENT_CHARS = 500;

export function denied({ approver, comment }: Pick<Denial, "approver" | "comment">): Refusal {
  const said = comment ? ` They say: ${visible(comment).slice(0, MAX_COMMENT_CHARS)}` : "";
  const text = `${visible(approver)} was asked to approve this and denied it.${said} Do it differently, or ask your user.`;
  return { approved: false, why: "denied", text };
}

export function deniedBefore(denial: Denial, nowMs: number): Refusal {
  const { text } = denied(denial);
  const wait = `Nobody is asked the same again for ${minutesUntil(denial.untilMs, nowMs)}.`;
  return { approved: false, why: "denied", text: `${text} ${wait}` };
}

export function tiring(untilMs: number, nowMs: number): Refusal {
  const text = `This needs a person's approval, and people have denied several requests lately, or were asked in vain: many were given up. Nobody is asked for ${minutesUntil(untilMs, nowMs)}. Tell your user what you need and why.`;
  return { approved: false, why: "too-many", text };
}

function minutesUntil(untilMs: number, nowMs: number): string {
  const minutes = Math.max(1, Math.ceil((untilMs - nowMs) / 60_000));
  return `${minutes} minute${minutes === 1 ? "" : "s"}`;
}

export function expired(timeoutMs: number): Refusal {
  const after = timeoutMs < 120_000 ? `${Math.ceil(timeoutMs / 1_000)} s` : `${Math.round(timeoutMs / 60_000)} minutes`;
  const text = `This needs a person's approval, and nobody answered within ${after}. Tell your user, and call again when somebody is there.`;
  return { approved: false, why: "expired", text };
}

export function cancelled(what: string): Refusal {
  return {
    approved: false,
    why: "cancelled",
    text: `This needs a person's approval, and ${what}. Call again if it is still wanted.`,
  };
}

export function tooMany(): Refusal {
  const text =
    "This needs a person's approval, and too many requests wait for one already. Wait until those are answered.";
  return { approved: false, why: "too-many", text };
}

/** `permitted`: those that policy holds enough; `undefined` when any is. */
export function unreachable(policies: readonly DecidingPolicy[], permitted: readonly string[] | undefined): Refusal {
  const only = permitted ? ` (policy takes it by ${permitted.join(" or ") || "none"} only)` : "";
  const by = policies.map((it) => it.id).join(", ");
  const text = `${by} needs a person's approval, and no person can be asked${only}. Whoever keeps this computer can set up a way: \`glovebox approve\` in a terminal, a client that can ask its user, a webhook, or Slack. docs/approvals.md shows how.`;
  return { approved: false, why: "unreachable", text };
}
