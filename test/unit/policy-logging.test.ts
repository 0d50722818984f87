import fc from "fast-check";
import { expect, test } from "vitest";
import { createAccounts } from "../../src/budget/accounts.ts";
import { describeCall } from "../../src/call/describe.ts";
import { assembleBundle } from "../../src/policy/assemble.ts";
import { problemText } from "../../src/policy/bundle.ts";
import { alone, decide } from "../../src/policy/decide.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { type LoggingFacts, NO_LAG, NOBODY_RECEIVES } from "../../src/policy/logging.ts";
import { readRecorded, recordedRequest } from "../../src/policy/replay.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { scratch } from "../support/audit.ts";
import { openTestBudgets } from "../support/budgets.ts";

const PRINCIPAL = { id: "local:ada", client: { name: "t", version: "1" }, transport: "stdio" as const };

function bundleWith(profile: string, cedar = "", tests = "") {
  const files = {
    "all.cedar": `permit (principal, action, resource);\n${cedar}`,
    "bundle.yaml": "name: t\nversion: 1.0.0\nnarrows: true\n",
    "profile.yaml": profile,
    "tests.yaml": tests,
  };
  const checked = assembleBundle(new Map(Object.entries(files)), new Map(), { describe: describeCall });
  if (!checked.valid) throw new Error(checked.problems.map(problemText).join("\n"));
  return checked.bundle;
}

function requestOf(tool: string, args: unknown): PolicyRequest {
  const described = describeCall(tool, args, PRINCIPAL);
  if ("problem" in described) throw new Error(described.problem);
  return described.request;
}

const EXEC = requestOf("exec", { argv: ["true"] });

test.each([
  ["maxLagSeconds", "lagSeconds"],
  ["maxLagRecords", "lagRecords"],
] as const)("%s: what is new is denied beyond it; what looks or ends things, and connections, go on", (limit, fact) => {
  const bundle = bundleWith(`logging:\n  ${limit}: 30\n`);
  const outcome = (request: PolicyRequest, lag: number) =>
    evaluate(bundle, { ...request, logging: { ...NO_LAG, [fact]: lag } });
  expect(outcome(EXEC, 30).outcome).toBe("permit");
  const denied = outcome(EXEC, 31);
  expect(denied).toMatchObject({ outcome: "deny", policies: [{ id: `profile.yaml#logging.${limit}` }], problems: [] });
  expect(denied.policies[0]?.reason).toContain("`glovebox audit status`");
  expect(bundle.policies.get(`profile.yaml#logging.${limit}`)).toMatchObject({ line: 2, readsLag: true, usage: [] });
  for (const [tool, args] of [
    ["sessionStatus", {}],
    ["closeSession", { sessionId: "ses-1" }],
    ["connect", { host: "example.org" }],
  ] as const) {
    expect(outcome(requestOf(tool, args), 1_000).outcome).toBe("permit");
  }
});

test("where nobody receives the log, nothing new is permitted under a limit, however high", () => {
  const bundle = bundleWith("logging: { maxLagSeconds: 999999999, maxLagRecords: 999999999 }");
  expect(evaluate(bundle, { ...EXEC, logging: NOBODY_RECEIVES }).outcome).toBe("deny");
});

test("a running gateway asks how far logging is behind at each decision, and only where policy depends on it", () => {
  let asked = 0;
  let lag: LoggingFacts = NO_LAG;
  const holder = holdPolicy(alone(bundleWith(""), "test"));
  using accounts = createAccounts(
    holder,
    () => openTestBudgets(`${scratch()}/budgets.sqlite`),
    () => {
      asked += 1;
      return lag;
    },
  );
  expect(accounts.reserve(EXEC, "ses-1").request).not.toHaveProperty("logging");
  expect(asked).toBe(0);
  holder.replace(
    alone(bundleWith("budgets: { principal: { callsPerDay: 9 } }\nlogging: { maxLagSeconds: 5 }"), "test"),
  );
  expect(accounts.reserve(EXEC, "ses-1").decision.outcome).toBe("permit");
  lag = { lagRecords: 3, lagSeconds: 6 };
  const { decision, request } = accounts.reserve(EXEC, "ses-1");
  expect(decision).toMatchObject({ outcome: "deny", policies: [{ id: "profile.yaml#logging.maxLagSeconds" }] });
  expect(request.logging).toEqual(lag);
  expect(accounts.decide(EXEC, "ses-1").outcome).toBe("deny");
  expect(accounts.asked(EXEC, "ses-1").logging).toEqual(lag);
  lag = NO_LAG;
  expect(accounts.reserve(EXEC, "ses-1").decision.outcome).toBe("permit");
  holder.replace(
    alone(
      bundleWith("", '@reason("r") forbid (principal, action, resource) when { principal.logging.lagRecords > 2 };'),
      "test",
    ),
  );
  expect(accounts.decide(requestOf("connect", { host: "example.org" }), "ses-1").outcome).toBe("permit");
  lag = { lagRecords: 3, lagSeconds: 0 };
  expect(accounts.decide(requestOf("connect", { host: "example.org" }), "ses-1").outcome).toBe("deny");
});

test("a decision by it can be made again from its record", () => {
  const policy = alone(bundleWith("logging: { maxLagRecords: 10 }"), "test");
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (lagRecords, lagSeconds) => {
      const request = { ...EXEC, logging: { lagRecords, lagSeconds } };
      const again = readRecorded(PRINCIPAL, JSON.parse(JSON.stringify(recordedRequest(request, { usage: true }))));
      if ("problem" in again) throw new Error(again.problem);
      expect(decide(policy, again)).toEqual(decide(policy, request));
    }),
  );
});

test("a bundle's tests say how far logging is behind", () => {
  const tests = [
    "- { name: up to date, tool: exec, arguments: { argv: [ls] }, expect: permit }",
    "- { name: behind, tool: exec, arguments: { argv: [ls] }, logging: { lagSeconds: 6 }, expect: deny }",
  ];
  const { tests: results } = bundleWith("logging: { maxLagSeconds: 5 }", "", `${tests.join("\n")}\n`);
  expect(results.map((it) => it.passed)).toEqual([true, true]);
});
