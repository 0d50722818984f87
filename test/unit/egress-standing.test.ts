import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { standingOf, stillApproved } from "../../src/approval/settle.ts";
import { createStanding } from "../../src/egress/standing.ts";
import { GatewayError } from "../../src/errors.ts";
import type { Decision } from "../../src/policy/decision.ts";
import { type Verdict, verdictOf } from "../../src/policy/verdict.ts";

const TARGET = { host: "api.test", port: 443 };
const REQUEST = {
  principal: { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const },
  action: "connect",
  resource: { type: "host" as const, host: "api.test" },
  context: {},
};

function verdict(outcome: Decision["outcome"], digest = "sha256:1", ...ids: string[]): Verdict {
  const policies = ids.map((id) => ({ id, effect: "forbid" as const }));
  return verdictOf(REQUEST, { outcome, policies, problems: [], bundle: { name: "t", version: "1.0.0", digest } });
}

function stand() {
  const refused: string[] = [];
  const standing = createStanding({
    refuse: (_target, why) => {
      refused.push(why);
      return why;
    },
  });
  return { refused, standing };
}

describe("what is let through", () => {
  test("ends when it can't be decided any more, and whoever looks is not thrown at", () => {
    const { standing, refused } = stand();
    const connection = new PassThrough();
    const after = new PassThrough();
    standing.keep(connection, TARGET, () => {
      throw new GatewayError("BUDGETS_UNREADABLE", "what was used can't be read");
    });
    standing.keep(after, TARGET, () => verdict("deny"));
    expect(() => standing.review("it has been open")).not.toThrow();
    expect([connection.destroyed, after.destroyed]).toEqual([true, true]);
    expect(refused[0]).toContain("can't be read");
  });

  test("is not kept when it has gone already", () => {
    const { standing, refused } = stand();
    const connection = new PassThrough();
    connection.destroy();
    standing.keep(connection, TARGET, () => verdict("deny"));
    standing.review("the policy has changed");
    expect(refused).toEqual([]);
  });

  test("stays where a person has let it through, and ends where nobody was asked", () => {
    const asks = verdict("ask", "sha256:1", "a.cedar#ask");
    expect(standingOf(asks, asks).permitted).toBe(true);
    expect(standingOf(asks, verdict("ask", "sha256:2", "a.cedar#ask")).permitted).toBe(true);
    expect(standingOf(verdict("permit"), asks).permitted).toBe(false);
    expect(standingOf(asks, verdict("ask", "sha256:1", "a.cedar#ask", "a.cedar#strict")).permitted).toBe(false);
    expect(standingOf(asks, verdict("deny")).permitted).toBe(false);
  });
});

describe("policy has the last word when a person has answered", () => {
  const decisionOf = (outcome: Decision["outcome"], digest = "sha256:1", ...ids: string[]): Decision => {
    const policies = ids.map((id) => ({ id, effect: "forbid" as const }));
    return { outcome, policies, problems: [], bundle: { name: "t", version: "1.0.0", digest } };
  };
  const asks = decisionOf("ask", "sha256:1", "a.cedar#ask");

  test.each([
    ["it asks the same", asks, true],
    ["it permits by now", decisionOf("permit"), true],
    ["it denies by now", decisionOf("deny", "sha256:1", "a.cedar#no"), false],
    ["another bundle asks", decisionOf("ask", "sha256:2", "a.cedar#ask"), false],
    ["another policy asks too", decisionOf("ask", "sha256:1", "a.cedar#ask", "a.cedar#strict"), false],
  ])("%s", (_what, now, permitted) => expect(stillApproved(now, asks)).toBe(permitted));
});
