import { setImmediate as breath } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Approval, Approvals } from "../../src/approval/approval.ts";
import { asksFor, settlingOnce } from "../../src/approval/settle.ts";
import { decide } from "../../src/policy/decide.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import { askedFor, askingPolicy } from "../support/approval.ts";
import { NOBODY } from "../support/policy.ts";

const GIVEN: Approval = { approved: true, approvalId: "apr_1", approver: "local:ada", channel: "terminal" };
const never = new AbortController().signal;
const { request, decision } = askedFor("connect", { host: "example.org" });
const question: Verdict = { permitted: false, reason: "r", policies: ["p"], question: { request, decision } };

test.each([
  ["the same", askingPolicy(), true],
  ["one that asks as well", askingPolicy("", " "), false],
  ["one that denies", askingPolicy("", `@reason("no") forbid(principal, action, resource);`), false],
])("an approved connection is decided again: by %s", async (_name, policy, approved) => {
  const approvals: Approvals = { ...NOBODY, approve: async () => GIVEN };
  const ask = asksFor("ses-1", { approvals, decide: (it) => decide(policy, it) });
  expect(await ask({ request, decision }, never)).toMatchObject({ approved });
});

test("who waits for the same answer does not share the fate of whoever gave up, and may give up alone", async () => {
  const asked: PromiseWithResolvers<Approval>[] = [];
  const settling = settlingOnce(
    async () => {
      asked.push(Promise.withResolvers());
      return (await asked.at(-1)?.promise) ?? GIVEN;
    },
    () => "key",
  );
  const [first, third] = [new AbortController(), new AbortController()];
  const one = settling.settle(question, first.signal);
  const two = settling.settle(question, never);
  const three = settling.settle(question, third.signal);
  third.abort(new Error("gone"));
  await expect(three).rejects.toThrow("gone");
  first.abort();
  asked[0]?.resolve({ approved: false, why: "cancelled", text: "given up" });
  expect(await one).toMatchObject({ permitted: false });
  await breath();
  expect(asked).toHaveLength(2);
  asked[1]?.resolve(GIVEN);
  expect(await two).toMatchObject({ permitted: true });
  expect(settling.known(question)).toMatchObject({ permitted: true });
});
