import { z } from "zod";
import type { CallResult } from "../call/ports.ts";
import { oneLine } from "../capability/render.ts";
import { printable } from "../lib/text.ts";
import { toolName } from "./facts.ts";
import type { Skill } from "./skill.ts";
import { answerText, differencesOf } from "./test-compare.ts";
import { type Lack, lackText, unmetNeed } from "./test-needs.ts";
import { patient, type TestPort } from "./test-port.ts";
import type { TestWorkspace } from "./test-workspace.ts";
import type { SkillTest } from "./tests-schema.ts";

const MAX_ANSWER_CHARS = 4_000;

export type TestResult = { readonly test: string; readonly capability: string; readonly durationMs: number } & (
  | { readonly outcome: "passed" }
  | {
      readonly outcome: "failed";
      readonly differences: readonly string[];
      /** What the call answered, when there was one. */
      readonly answer?: string;
    }
  | { readonly outcome: "left-out"; readonly why: string }
);
type Verdict = TestResult extends infer T
  ? T extends unknown
    ? Omit<T, "test" | "capability" | "durationMs">
    : never
  : never;

export interface TestRun {
  readonly skill: Skill;
  readonly tests: readonly SkillTest[];
  readonly port: TestPort;
  readonly workspace: TestWorkspace;
  readonly onBegin: (test: SkillTest) => void;
  readonly onEnd: (result: TestResult) => void;
}

/**
 * Runs a skill's tests one after the other, as an agent would call it. Each begins with an empty workspace; what has been installed for the
 * skill stays until its last one.
 * @throws GatewayError when there is no sandbox to be had, or the tests are to stop: nothing is known of the skill then
 */
export async function runTests(run: TestRun): Promise<readonly TestResult[]> {
  const { skill, tests, onBegin, onEnd } = run;
  const port = patient(run.port);
  const used = await useIt(skill, port);
  const results: TestResult[] = [];
  let isBegun = false;
  /** What only policy and the arguments decide needs no sandbox. */
  const begin = async () => {
    const problem = isBegun ? await run.workspace.empty() : await run.workspace.renew();
    isBegun = true;
    return problem;
  };
  for (const test of tests) {
    onBegin(test);
    const startedMs = performance.now();
    const verdict = "problem" in used ? failed([used.problem]) : await runTest(test, { ...run, port, used, begin });
    const durationMs = Math.round(performance.now() - startedMs);
    const result: TestResult = { test: test.name, capability: test.capability, durationMs, ...verdict };
    results.push(result);
    onEnd(result);
  }
  return results;
}

interface Used {
  /** What policy does not give, by the tool that it stands in the way of. */
  readonly lacks: readonly (Lack & { readonly tools: readonly string[] })[];
}

const answerOfUse = z.object({
  digest: z.string(),
  missing: z.array(z.object({ need: z.string(), why: z.string(), tools: z.array(z.string()) })),
});

async function useIt(skill: Skill, port: TestPort): Promise<Used | { readonly problem: string }> {
  const answer = await port.call("useSkill", { name: skill.name });
  if (answer.kind !== "done") return { problem: `the skill can't be used: ${answerText(answer)}` };
  const { digest, missing } = answerOfUse.parse(answer.outcome.result);
  if (digest !== skill.digest)
    return { problem: `the skill has changed since its tests were read: it is ${digest} now` };
  return { lacks: missing };
}

async function runTest(
  test: SkillTest,
  { skill, port, workspace, used, begin }: TestRun & { used: Used; begin: () => Promise<string | undefined> },
): Promise<Verdict> {
  const capability = skill.capabilities.find((it) => it.name === test.capability);
  if (!capability) return failed([`the skill has no \`${test.capability}\``]);
  const tool = toolName(skill, capability);
  const lacks = used.lacks.filter((it) => it.tools.includes(tool));
  const why = await unmetNeed(test, capability, lacks, port);
  if (why !== undefined) return { outcome: "left-out", why };
  const needsSandbox = test.expect.error !== "INVALID_ARGUMENTS" || test.files.length > 0;
  const problem = needsSandbox ? ((await begin()) ?? (await workspace.put(test.files))) : undefined;
  if (problem !== undefined) return failed([problem]);
  const answer = await port.call(tool, test.arguments);
  const differences = [...differencesOf(test.expect, answer), ...(await workspace.missing(test.expect.files ?? []))];
  if (differences.length === 0) return { outcome: "passed" };
  return failed([...differences, ...lacks.map((it) => `the skill lacks ${lackText(it)}`)], answer);
}

function failed(differences: readonly string[], answer?: CallResult): Verdict {
  const safe = differences.map((it) => oneLine(it, MAX_ANSWER_CHARS));
  return {
    outcome: "failed",
    differences: safe,
    ...(answer && { answer: printable(answerText(answer), MAX_ANSWER_CHARS) }),
  };
}
