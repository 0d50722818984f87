import type { Budgets } from "../../src/budget/budgets.ts";
import { openBudgets } from "../../src/budget/store.ts";
import type { Decision } from "../../src/policy/decision.ts";

export const SPENDER = { principalId: "local:ada", sessionId: "ses-1" };

export const NO_DECISION: Decision = {
  outcome: "deny",
  policies: [],
  problems: [],
  bundle: { name: "t", version: "1.0.0", digest: "sha256:0" },
};

/** With what it would have logged. */
export function openTestBudgets(file: string, nowMs: () => number = Date.now, logged: unknown[] = []): Budgets {
  const keep = (facts: unknown) => void logged.push(facts);
  return openBudgets({ file, nowMs, log: { warn: keep, error: keep } });
}
