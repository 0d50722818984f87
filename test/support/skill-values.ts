import fc from "fast-check";
import { expect } from "vitest";
import { inputSchema, type Value, type Values } from "../../src/skill/parameters.ts";
import type { Parameter, Step } from "../../src/skill/skill.ts";
import { textOf } from "../../src/skill/template.ts";

export const BUILTINS = { skill: "/home/agent/skill" };

/** What an agent would try. */
const nasty = fc.oneof(
  fc.constantFrom(
    "-",
    "--",
    "-rf",
    "--output=/x",
    "$(id)",
    "`id`",
    "; id",
    "a b",
    "'",
    '"',
    "\n",
    "",
    "{a}",
    "{skill}",
  ),
  fc.constantFrom("*", "~", "@file", "-\u200b", "\u2010x", "%s", "\\", "\r", "\u0001"),
  fc.string({ unit: "grapheme", maxLength: 12 }),
);

/** Of channels and the like, which nothing above looks like. */
const IDS = ["C0123456789", "#general", "1700000000.000100"];
const given = fc.oneof(nasty, fc.integer({ min: -5, max: 9 }), fc.boolean(), fc.array(nasty, { maxLength: 3 }));
const FORMED: Readonly<Partial<Record<Parameter["type"]["kind"], readonly string[]>>> = {
  path: ["-x", "a/../-b", "/x y"],
  host: ["example.org", "[::1]:80", "::1"],
  url: ["https://example.org/-x", "http://127.0.0.1:81/?a=b c"],
  enum: ["a", "b", "-b", "c d"],
};

/** Values that the schema takes, chosen by an agent. */
export function chosen(parameters: readonly Parameter[], data: fc.GeneratorValue): Values {
  const schema = inputSchema(parameters);
  const values: Record<string, Value> = {};
  for (const { name, type, required } of parameters) {
    const fits = (it: unknown) => schema.shape[name]?.safeParse(it).success === true;
    const formed = FORMED[type.kind];
    const candidates: unknown[] = [...data(() => fc.array(given, { minLength: 5, maxLength: 5 })), ...(formed ?? IDS)];
    const fitting = [...candidates, "a", "x-", "b", 3, true, ["-"], "-x", "-"].filter(fits);
    if (fitting.length === 0) continue;
    if (!required && data(fc.boolean)) continue;
    const value = data(() => fc.constantFrom(...fitting));
    values[name] = schema.shape[name]?.parse(value) as Value;
  }
  return values;
}

/** Whatever the values are: as many arguments as are given, each of which is what its template says, and none of which becomes an option. */
export function expectShape(argv: readonly string[], step: Step, values: Values): void {
  // Their number follows from what is given alone.
  const kept = step.argv.filter(({ when }) => when === undefined || (when in values && values[when] !== false));
  expect(argv).toHaveLength(kept.length);
  for (const [index, { template }] of kept.entries()) {
    const actual = argv[index] ?? "";
    // The literal parts stay where they are, and between them is the one text of each value.
    const parts = template.map((it) =>
      "text" in it ? it.text : "builtin" in it ? BUILTINS.skill : textOf(values[it.parameter] ?? ""),
    );
    expect(actual).toBe(parts.join(""));
    expect(actual.includes("\0")).toBe(false);
    // A value begins no option, unless options have ended.
    const [first] = template;
    const isOption = first !== undefined && "text" in first && first.text.startsWith("-");
    if (!isOption && !argv.slice(0, index).includes("--")) expect(actual.startsWith("-")).toBe(false);
  }
}
