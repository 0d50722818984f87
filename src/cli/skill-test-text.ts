import type { createColors } from "picocolors";
import { printable } from "../lib/text.ts";
import type { TestResult } from "../skill/test-run.ts";

/** What came of one skill's tests. */
export interface SkillResults {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly tests: readonly TestResult[];
}

export function resultText(result: TestResult, colour: ReturnType<typeof createColors>): string {
  const name = printable(result.test);
  const took = colour.dim(`(${(result.durationMs / 1_000).toFixed(1)} s)`);
  switch (result.outcome) {
    case "passed":
      return `  ${colour.green("passed")}    ${name} ${took}`;
    case "left-out":
      return `  ${colour.yellow("left out")}  ${name}: ${printable(result.why)}`;
    case "failed": {
      const answer = result.answer === undefined ? [] : ["it answered:", ...indented(result.answer)];
      const lines = [...result.differences.map((it) => printable(it, 4_000)), ...answer];
      return [`  ${colour.red("FAILED")}    ${name} ${took}`, ...lines.map((it) => `            ${it}`)].join("\n");
    }
  }
}

function indented(text: string): readonly string[] {
  return text.split("\n").map((it) => `  ${it}`);
}

/** `12 passed, 1 failed, 2 left out`, and the same as numbers. */
export function summary(results: readonly SkillResults[], problems: number) {
  const outcomes = results.flatMap((it) => it.tests.map(({ outcome }) => outcome));
  const count = (outcome: TestResult["outcome"]) => outcomes.filter((it) => it === outcome).length;
  const counts = { passed: count("passed"), failed: count("failed"), leftOut: count("left-out") };
  const parts = [`${counts.passed} passed`, `${counts.failed} failed`, `${counts.leftOut} left out`];
  if (problems > 0) parts.push(problems === 1 ? "1 problem" : `${problems} problems`);
  return { counts, text: parts.join(", ") };
}
