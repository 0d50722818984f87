import { expect, test } from "vitest";
import type { RecordBody } from "../../src/audit/record.ts";
import { askPerson } from "../../src/call/ask-person.ts";
import { GatewayError } from "../../src/errors.ts";
import type { Decision } from "../../src/policy/decision.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";

const bundle = { name: "t", version: "1.0.0", digest: "sha256:1" };
const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
const request: PolicyRequest = { principal, action: "exec", resource: { type: "session", id: "s" }, context: {} };

function decision(outcome: Decision["outcome"], digest: string, ...ids: string[]): Decision {
  const policies = ids.map((id) => ({ id, effect: "forbid" as const }));
  return { outcome, policies, problems: [], bundle: { ...bundle, digest } };
}
const ASKS = decision("ask", "sha256:1", "a.cedar#ask");

/** A call that a person lets through, when policy decides this by then. */
async function approved(decide: () => Decision) {
  const records: RecordBody[] = [];
  let counted = 0;
  const ports = {
    approvals: {
      approve: async () =>
        ({ approved: true, approvalId: "apr_1", approver: "local:ada", channel: "terminal" }) as const,
      grants: () => [],
      forget: () => undefined,
    },
    accounts: {
      asked: (it: PolicyRequest) => it,
      reserve: (it: PolicyRequest, _session: string, runs = (by: Decision) => by.outcome === "permit") => {
        const now = decide();
        if (runs(now)) counted += 1;
        return { decision: now, request: it };
      },
      run: () => new DisposableStack(),
      relief: () => undefined,
    },
    policy: holdPolicy({
      identity: bundle,
      layers: [],
      shadows: [],
      sets: { enforced: "" },
      vocabulary: OWN_VOCABULARY,
      profile: profileSchema.parse({}),
    }),
    audit: { append: async (body: RecordBody) => void records.push(body) },
  };
  const asked = { request, decision: ASKS, sessionId: "ses-1", callId: "call-1", details: [] };
  const { signal } = new AbortController();
  const called = { tool: "exec", args: {}, principal, signal, progress: () => undefined };
  const denial = await askPerson(asked, called, ports).catch((error: unknown) => error);
  return { denial, counted, records };
}

test.each([
  ["asks the same", ASKS],
  ["permits it", decision("permit", "sha256:2")],
])("what a person has let through runs and counts once, when policy %s by then", async (_what, now) => {
  expect(await approved(() => now)).toEqual({ denial: undefined, counted: 1, records: [] });
});

test.each([
  ["denies it", decision("deny", "sha256:1", "a.cedar#budget")],
  ["asks by another bundle", decision("ask", "sha256:2", "a.cedar#ask")],
  ["asks for another reason too", decision("ask", "sha256:1", "a.cedar#ask", "a.cedar#strict")],
])("it does not run and does not count when policy %s by then", async (_what, now) => {
  const { denial, counted, records } = await approved(() => now);
  expect({ denial, counted }).toMatchObject({ denial: { decision: now }, counted: 0 });
  expect(records).toMatchObject([{ kind: "outcome", status: "error", code: "DENIED" }]);
});

test("nor when it can't be decided by then, and that is how it ended on record", async () => {
  const { denial, records } = await approved(() => {
    throw new GatewayError("BUDGETS_UNREADABLE");
  });
  expect(denial).toMatchObject({ code: "BUDGETS_UNREADABLE" });
  expect(records).toMatchObject([{ kind: "outcome", status: "error", code: "BUDGETS_UNREADABLE" }]);
});
