import type { PastDecision } from "../past.ts";
import { remark } from "./quote.ts";

/** So many different ones are listed; of more, what they have in common is permitted. */
export const FEW = 4;

/** A would-be call with the decision that it must get. */
export interface LearnedTest {
  readonly tool: string;
  readonly arguments: object;
}

/** A policy, and what it was made from. */
export interface Rule {
  /** Of the policy; unique in the bundle. */
  readonly id: string;
  /** What a reader should know. */
  readonly remarks: readonly string[];
  /** `action == …` and the rest of the head behind the principal. */
  readonly head: string;
  /** All of them have to hold. */
  readonly conditions: readonly string[];
  /** How many decisions it is made from. */
  readonly calls: number;
  readonly tests: readonly LearnedTest[];
}

/** Permitted once, and nothing that a policy should permit without a person's word. */
export interface LeftOut {
  readonly decision: PastDecision;
  readonly why: string;
}

/** What is learned of some of the decisions. */
export interface Lesson {
  readonly rules: readonly Rule[];
  readonly leftOut: readonly LeftOut[];
}

export function ruleText({ id, remarks, head, conditions, calls }: Rule): string {
  const notes = [calls === 1 ? "1 call" : `${calls} calls`, ...remarks].map((it) => `// ${remark(it)}`);
  const when = conditions.length === 0 ? "" : `\nwhen {\n${conditions.map((it) => `  ${it}`).join(" &&\n")}\n}`;
  return `${notes.join("\n")}\n@id("${id}")\npermit (principal, ${head})${when};\n`;
}

/** By a key, in the order of keys. */
export function grouped<T>(items: readonly T[], keyOf: (item: T) => string): [key: string, items: readonly T[]][] {
  return [...Map.groupBy(items, keyOf)].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function unique(items: readonly string[]): string[] {
  return [...new Set(items)].sort();
}
