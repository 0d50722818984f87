import { join } from "node:path";
import { expect, test } from "vitest";
import { policyFinder, reliefOf } from "../../src/budget/relief.ts";
import { assembleBundle } from "../../src/policy/assemble.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import type { PolicyLayer } from "../../src/policy/layer.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { readsUsage } from "../../src/policy/usage-read.ts";
import { scratch } from "../support/audit.ts";
import { openTestBudgets, SPENDER } from "../support/budgets.ts";
import { layerOf } from "../support/bundle.ts";

const NOON = Date.UTC(2026, 10, 21, 12);
const CALLS = forbid("calls", "principal.usage.callsLastHour >= 2");
const DAY = forbid("day", "principal.session.callsLastDay >= 2");
const UNSURE = forbid("unsure", "!(principal.usage.callsLastHour < 2)");
const SESSIONS = forbid("sessions", "principal.openSessions >= 1");
const OTHER = forbid("other", "context.background == false");

function forbid(id: string, when: string): string {
  return `@id("${id}") @reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { ${when} };`;
}

const REQUEST: PolicyRequest = {
  principal: { id: SPENDER.principalId, client: { name: "c", version: "1" }, transport: "stdio" },
  action: "exec",
  resource: { type: "session", id: SPENDER.sessionId },
  context: {
    cwd: "/workspace",
    stdinBytes: 0,
    background: false,
    terminal: false,
    envNames: [],
    timeoutMs: 0,
    argv0: "true",
    argvPrefixes: ['["true"]'],
    argc: 1,
  },
};

/** What is told when a call comes after two others, at noon and four seconds later, and a session is open. */
function relief(layers: readonly PolicyLayer[], lateMs = 60_000): string | undefined {
  let nowMs = NOON;
  using budgets = openTestBudgets(join(scratch(), "budgets.sqlite"), () => nowMs);
  using _session = budgets.openSession(SPENDER);
  budgets.add(SPENDER, "calls", 1);
  nowMs += 4_000;
  budgets.add(SPENDER, "calls", 1);
  nowMs = NOON + lateMs;
  const policy = policyOf(layers, profileSchema.parse({}));
  const decision = decide(policy, { ...REQUEST, usage: budgets.usage(SPENDER) });
  return reliefOf(decision, policyFinder(policy), budgets, SPENDER);
}

const layer = (...policies: readonly string[]) =>
  layerOf("user", ["permit (principal, action, resource);", ...policies], { narrows: true });

test("who is denied by a budget is told when it frees up", () => {
  // The slot of the first call is a minute, and 24 minutes, long.
  expect(relief([layer(CALLS)])).toBe("frees up at 13:01:00Z (in 60 minutes)");
  expect(relief([layer(CALLS)], 3_600_000)).toBe("frees up at 13:01:00Z (in 60 seconds)");
  expect(relief([layer(CALLS)], 3_659_900)).toBe("frees up at 13:01:00Z (in 1 second)");
  expect(relief([layer(DAY)])).toBe("frees up at 2026-11-22T12:24:00Z (in 25 hours)");
});

test("of several the last that frees up is told, in whatever layer it stands", () => {
  const both = "frees up at 2026-11-22T12:24:00Z (in 25 hours)";
  expect(relief([layer(CALLS, DAY)])).toBe(both);
  const organisation = layerOf("organisation", ["permit (principal, action, resource);", DAY], { narrows: true });
  expect(relief([organisation, layer(CALLS)])).toBe(both);
});

test("where it isn't known by which number a policy denies, it is told when the counter begins to fall", () => {
  expect(relief([layer(UNSURE)])).toBe("begins to free up at 13:01:00Z (in 60 minutes)");
});

test("nothing is told where waiting doesn't help, or nothing is denied", () => {
  expect(relief([layer(SESSIONS)])).toBeUndefined();
  expect(relief([layer(CALLS, OTHER)])).toBeUndefined();
  expect(relief([layer(CALLS, SESSIONS)])).toBeUndefined();
  expect(relief([layer()])).toBeUndefined();
  expect(relief([layerOf("user", CALLS)], 2 * 3_600_000)).toBeUndefined();
});

test("what is in force reads usage when one policy of any layer does, in shadow mode too", () => {
  const of = (layers: readonly PolicyLayer[]) => readsUsage(policyOf(layers, profileSchema.parse({})));
  expect(of([layer(OTHER)])).toBe(false);
  expect(of([layer(OTHER), layer(SESSIONS)])).toBe(true);
  const shadow = layerOf("team", ["permit (principal, action, resource);", CALLS], { narrows: true, mode: "shadow" });
  expect(of([layer(OTHER), shadow])).toBe(true);
});

test("as many calls pass as the budget has, and the next one at the moment that the denial tells, not before", () => {
  let nowMs = NOON;
  using budgets = openTestBudgets(join(scratch(), "budgets.sqlite"), () => nowMs);
  const files = {
    "a.cedar": "permit (principal, action, resource);",
    "bundle.yaml": "name: t\nversion: 1.0.0\nnarrows: true\n",
    "profile.yaml": "budgets: { principal: { callsPerHour: 5 }, session: { callsPerMinute: 3 } }",
  };
  const checked = assembleBundle(new Map(Object.entries(files)), new Map(), { describe: () => ({ problem: "" }) });
  if (!checked.valid) throw new Error(JSON.stringify(checked.problems));
  const { bundle } = checked;
  const policy = policyOf([{ name: "user", bundle, origin: "test" }], bundle.profile);
  const call = () => budgets.reserve(SPENDER, (usage) => decide(policy, { ...REQUEST, usage }));
  const outcomes = () => Array.from({ length: 7 }, () => call().outcome);
  const told = () => reliefOf(call(), policyFinder(policy), budgets, SPENDER);
  expect(outcomes()).toEqual(["permit", "permit", "permit", "deny", "deny", "deny", "deny"]);
  expect(told()).toBe("frees up at 12:01:01Z (in 61 seconds)");
  nowMs = NOON + 60_999;
  expect(call().outcome).toBe("deny");
  nowMs = NOON + 61_000;
  expect(outcomes().slice(0, 3)).toEqual(["permit", "permit", "deny"]);
  expect(told()).toBe("frees up at 13:01:00Z (in 60 minutes)");
  nowMs = NOON + 3_659_999;
  expect(call().outcome).toBe("deny");
  nowMs = NOON + 3_660_000;
  expect(call().outcome).toBe("permit");
});
