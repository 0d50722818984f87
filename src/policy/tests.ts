import { z } from "zod";
import type { Bundle, Place, Problem } from "./bundle.ts";
import { OUTCOMES } from "./decision.ts";
import { evaluate } from "./evaluate.ts";
import type { PolicyRequest, Principal } from "./request.ts";
import { USAGE_FACTS, type UsageFact } from "./usage.ts";

/** What a would-be tool call means to policy; the composition root knows the tools. */
export type Describe = (
  tool: string,
  args: unknown,
  principal: Principal,
) => { readonly request: PolicyRequest } | { readonly problem: string };

const amount = z.int().min(0).default(0);
const usage = z
  .strictObject(Object.fromEntries(USAGE_FACTS.map((it) => [it, amount])) as Record<UsageFact, typeof amount>)
  .prefault({});

/** A bundle's `tests.yaml`: would-be calls with the decision they must get. */
export const testsSchema = z.array(
  z.strictObject({
    name: z.string().min(1),
    tool: z.string().min(1),
    arguments: z.record(z.string(), z.unknown()).default({}),
    expect: z.enum(OUTCOMES),
    /** Exactly these policies must have determined it. */
    policies: z.array(z.string()).optional(),
    principal: z.string().min(1).default("local:test"),
    /** What the client says of itself. */
    client: z.strictObject({ name: z.string().default("policy-test"), version: z.string().default("1") }).prefault({}),
    /** What has been used when the call comes; what is left out is 0. */
    usage: z
      .strictObject({
        principal: usage,
        session: usage,
        openSessions: amount,
        /** Where it is not said: if any session is open, the one that the call is for is. */
        sessionIsOpen: z.boolean().optional(),
      })
      .transform(({ sessionIsOpen, ...used }) => ({ ...used, sessionIsOpen: sessionIsOpen ?? used.openSessions > 0 }))
      .optional(),
    /** How far central logging is behind when the call comes. */
    logging: z.strictObject({ lagRecords: amount, lagSeconds: amount }).optional(),
  }),
);

export type PolicyTest = z.infer<typeof testsSchema>[number];

export interface TestResult {
  readonly name: string;
  readonly passed: boolean;
  /** What went wrong, when it did. */
  readonly message?: string;
}

export function runTests(bundle: Bundle, tests: readonly PolicyTest[], describe: Describe): TestResult[] {
  return tests.map((test) => {
    const message = failureOf(bundle, test, describe);
    return message === undefined ? { name: test.name, passed: true } : { name: test.name, passed: false, message };
  });
}

/** The failures, each at its test's name. */
export function testProblems(
  results: readonly TestResult[],
  file: string,
  placeOf: (path: readonly PropertyKey[]) => Place,
): Problem[] {
  return results.flatMap(({ name, passed, message }, index) =>
    passed ? [] : [{ file, ...placeOf([index, "name"]), message: `test "${name}" failed: ${message}` }],
  );
}

function failureOf(bundle: Bundle, test: PolicyTest, describe: Describe): string | undefined {
  const { principal: id, client } = test;
  const described = describe(test.tool, test.arguments, { id, client, transport: "stdio" });
  if ("problem" in described) return described.problem;
  const { usage: used, logging } = test;
  const request = { ...described.request, ...(used && { usage: used }), ...(logging && { logging }) };
  const decision = evaluate(bundle, request);
  const ids = decision.policies.map((it) => it.id);
  const why = [...ids, ...decision.problems].join(", ") || "no policy applies";
  if (decision.outcome !== test.expect) return `expected ${test.expect}, got ${decision.outcome} (${why})`;
  if (test.policies && test.policies.toSorted().join() !== ids.toSorted().join()) {
    return `expected ${test.policies.join(", ")} to decide, got ${why}`;
  }
  return undefined;
}
