import { expect, test } from "vitest";
import { createAccounts } from "../../src/budget/accounts.ts";
import { GatewayError } from "../../src/errors.ts";
import { alone } from "../../src/policy/decide.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { NO_LAG } from "../../src/policy/logging.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { scratch } from "../support/audit.ts";
import { openTestBudgets, SPENDER } from "../support/budgets.ts";
import { bundleOf } from "../support/bundle.ts";

const EXEC = 'principal, action == Glovebox::Action::"exec", resource';
const FREE = alone(bundleOf(`permit (${EXEC});`), "test");
const COUNTING = alone(
  bundleOf(`permit (${EXEC}); @id("two") @reason("r") forbid (${EXEC}) when { principal.openSessions >= 3 };`),
  "test",
);
const REQUEST: PolicyRequest = {
  principal: { id: SPENDER.principalId, client: { name: "c", version: "1" }, transport: "stdio" },
  action: "exec",
  resource: { type: "session", id: "s" },
  context: {},
};

test("sessions that were open before anything was counted are counted, although the first try fails", () => {
  const file = `${scratch()}/budgets.sqlite`;
  const holder = holdPolicy(FREE);
  let tries = 0;
  using accounts = createAccounts(
    holder,
    () => {
      const budgets = openTestBudgets(file);
      tries += 1;
      if (tries > 1) return budgets;
      const openSession = () => {
        throw new GatewayError("BUDGETS_UNREADABLE");
      };
      return { ...budgets, openSession };
    },
    () => NO_LAG,
  );
  for (const sessionId of ["ses-1", "ses-2"]) accounts.openSession({ ...SPENDER, sessionId });
  holder.replace(COUNTING);
  expect(() => accounts.asked(REQUEST, "ses-1")).toThrow();
  expect(accounts.asked(REQUEST, "ses-1").usage).toMatchObject({ openSessions: 2, sessionIsOpen: true });
});
