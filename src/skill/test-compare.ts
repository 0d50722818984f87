import type { CallResult } from "../call/ports.ts";
import { skillResult } from "./outcome.ts";
import type { Expectation } from "./tests-schema.ts";

const MAX_SHOWN_CHARS = 300;
const MAX_DIFFERENCES = 20;

/**
 * What of an answer is not as a test expects it, a line each. Where neither an exit code nor an error is expected, the call has to succeed.
 * Files are looked for by whoever can look: see `runTests`.
 */
export function differencesOf(expect: Expectation, answer: CallResult): readonly string[] {
  const text = allTextOf(answer);
  const missing = (expect.contains ?? []).filter((it) => !text.includes(it));
  return [
    ...(answer.kind === "done" ? ofResult(expect, answer) : ofRefusal(expect, answer)),
    ...missing.map((it) => `the answer does not contain ${shown(it)}`),
  ].slice(0, MAX_DIFFERENCES);
}

/** As a caller reads it. */
export function answerText(answer: CallResult): string {
  if (answer.kind === "failed") return `${answer.error.code}: ${answer.error.message}`;
  return answer.kind === "denied" ? deniedText(answer) : answer.outcome.text;
}

/** With what the last step printed as it was: for a reader, ends of lines and the like are others. */
function allTextOf(answer: CallResult): string {
  const printed = answer.kind === "done" ? skillResult.parse(answer.outcome.result).text : "";
  return `${answerText(answer)}\n${printed}`;
}

function deniedText({ decision, unapproved, relief }: CallResult & { kind: "denied" }): string {
  const reasons = decision.policies.map((it) => it.reason ?? `forbidden by ${it.id}`);
  const why = [...decision.problems, ...reasons, ...[unapproved, relief].filter((it) => it !== undefined)];
  return `DENIED: ${why.join("; ") || "no policy permits it"}`;
}

function ofRefusal({ error, exitCode }: Expectation, answer: Exclude<CallResult, { kind: "done" }>): string[] {
  const code = answer.kind === "denied" ? "DENIED" : answer.error.code;
  if (error === code) return [];
  const wanted = error === undefined ? "" : `, not with ${error}`;
  return [
    `the call failed with ${code}${wanted}${exitCode === undefined ? "" : `: there is no exit code ${exitCode}`}`,
  ];
}

function ofResult(expect: Expectation, { outcome }: CallResult & { kind: "done" }): string[] {
  const result = skillResult.parse(outcome.result);
  const end =
    result.exitCode === undefined ? `by ${result.endedBy ?? "no program"}` : `with exit code ${result.exitCode}`;
  if (expect.error !== undefined) return [`the call did not fail with ${expect.error}: it ended ${end}`];
  const differences: string[] = [];
  if (expect.exitCode === undefined) {
    if (!result.ok) differences.push(`step ${result.failedStep} failed: it ended ${end}`);
  } else if (result.exitCode !== expect.exitCode) {
    differences.push(`it ended ${end}, not with exit code ${expect.exitCode}`);
  }
  if (expect.json !== undefined) differences.push(...ofJson(expect.json, result.json, "json"));
  const pictures = outcome.pictures?.length ?? 0;
  if (expect.image !== undefined && expect.image !== pictures > 0) {
    differences.push(expect.image ? "there is no picture" : "there is a picture");
  }
  return differences;
}

/** Of objects the keys that are expected, of arrays every item. */
function ofJson(expected: unknown, actual: unknown, at: string): string[] {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return [`${at}: ${shown(actual)}, not an array`];
    if (actual.length !== expected.length) {
      return [`${at}: ${actual.length} items, not ${expected.length}: ${shown(actual)}`];
    }
    return expected.flatMap((it, index) => ofJson(it, actual[index], `${at}[${index}]`));
  }
  if (isRecord(expected)) {
    if (!isRecord(actual)) return [`${at}: ${shown(actual)}, not an object`];
    return Object.entries(expected).flatMap(([key, it]) =>
      Object.hasOwn(actual, key) ? ofJson(it, actual[key], `${at}.${key}`) : [`${at}.${key}: is not there`],
    );
  }
  return Object.is(expected, actual) || expected === actual ? [] : [`${at}: ${shown(actual)}, not ${shown(expected)}`];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS).toWellFormed()}…`;
}
