import fc from "fast-check";
import { expect, test } from "vitest";
import { readDefinition } from "../../src/skill/definition.ts";
import type { Values } from "../../src/skill/parameters.ts";
import type { Argument, Step, Template } from "../../src/skill/skill.ts";
import { argvOf, fill, parseTemplate, textOf } from "../../src/skill/template.ts";
import { definitionOf } from "../support/skill.ts";
import { BUILTINS, chosen, expectShape } from "../support/skill-values.ts";

test.each<[string, Template]>([
  ["", []],
  ["plain", [{ text: "plain" }]],
  ["--file={path}", [{ text: "--file=" }, { parameter: "path" }]],
  ["{a}{b}", [{ parameter: "a" }, { parameter: "b" }]],
  ["{skill}/x", [{ builtin: "skill" }, { text: "/x" }]],
  ["{{a}", [{ text: "{a}" }]],
  ["{{{a}}", [{ text: "{" }, { parameter: "a" }, { text: "}" }]],
  ["a{{{{b}}", [{ text: "a{{b}}" }]],
  ["}", [{ text: "}" }]],
])("%j is read", (text, template) => {
  expect(parseTemplate(text)).toEqual({ template });
});

test.each(["{", "{a", "a{", "{}", "{ a }", "{A}", "{a.b}", "{a-b}", "{0}", "{__proto__}", "{a{b}}"])(
  "%j is no template",
  (text) => {
    expect(parseTemplate(text)).toMatchObject({ problem: expect.any(String), fix: expect.any(String) });
  },
);

test("every value has one form as text", () => {
  expect(["{a}", 5, -1, true, ["a", '"']].map((it) => textOf(it))).toEqual(["{a}", "5", "-1", "true", '["a","\\""]']);
});

test("a value is not read as a template, and what every object has is no value", () => {
  expect(fill([{ parameter: "a" }, { text: "-" }, { builtin: "skill" }], { a: "{skill}{a}" }, BUILTINS)).toBe(
    "{skill}{a}-/home/agent/skill",
  );
  expect(() => fill([{ parameter: "constructor" }], {}, BUILTINS)).toThrow(/there is no value/);
});

const literal = (text: string, when?: string): Argument => ({ template: [{ text }], ...(when ? { when } : {}) });

test("arguments and steps are left out where their condition is not given, or is false", () => {
  const step: Step = { argv: [literal("x"), literal("-a", "a"), literal("-b", "b")], success: [0] };
  const run = (values: Values) => argvOf(step, values, BUILTINS);
  expect(run({})).toEqual(["x"]);
  expect(run({ a: false, b: true })).toEqual(["x", "-b"]);
  expect(run({ a: "", b: 0 })).toEqual(["x", "-a", "-b"]);
  expect(argvOf({ ...step, when: "a" }, { a: false }, BUILTINS)).toBeUndefined();
  expect(argvOf({ ...step, when: "toString" }, {}, BUILTINS)).toBeUndefined();
  expect(argvOf({ ...step, when: "a" }, { a: [] }, BUILTINS)).toEqual(["x", "-a"]);
});

test("more than a program can be given is refused", () => {
  const step: Step = { argv: [literal("x"), { template: [{ parameter: "a" }] }], success: [0] };
  expect(argvOf(step, { a: "é".repeat(65_000) }, BUILTINS)).toHaveLength(2);
  expect(() => argvOf(step, { a: "é".repeat(65_500) }, BUILTINS)).toThrow(/131003 bytes, and may to 131000/);
});

const PROPERTY = fc.oneof(
  fc.record({ type: fc.constant("string"), maxLength: fc.integer({ min: 1, max: 20 }) }),
  fc
    .constantFrom("[^-]{1,9}.*", "(?!-)[^]*", "[a-z][a-z-]*", "[a-z]*-", "a|-b", "\\w?-+", "(?:-)x?")
    .map((pattern) => ({
      type: "string",
      maxLength: 20,
      pattern,
    })),
  fc.constant({ type: "string", enum: ["a", "-b", "c d"] }),
  fc.constant({ type: "string", enum: ["a", "b"] }),
  fc.constantFrom("path", "host", "url").map((format) => ({ type: "string", format })),
  fc.constantFrom(-5, 0).map((minimum) => ({ type: "integer", minimum, maximum: 9 })),
  fc.constant({ type: "boolean" }),
  fc.constant({ type: "array", items: { type: "string", maxLength: 9 }, maxItems: 3 }),
);

const NAMES = ["a", "b", "c"];
const PIECES = fc.oneof(
  fc.constantFrom("-", "--", "--x=", "-x", "=", "y", "/", "{{", " ", "--"),
  fc.constantFrom("{a}", "{b}", "{c}", "{skill}"),
);
const argument = fc.record({
  arg: fc.array(PIECES, { minLength: 1, maxLength: 3 }).map((it) => it.join("")),
  when: fc.option(fc.constantFrom(...NAMES), { nil: undefined }),
});

/** Definitions, most of which are refused. */
const definition = fc
  .record({
    properties: fc.tuple(PROPERTY, PROPERTY, PROPERTY),
    required: fc.subarray(NAMES),
    argv: fc.array(argument, { minLength: 1, maxLength: 5 }),
    ends: fc.option(fc.nat(5), { nil: undefined }),
  })
  .map(({ properties, required, argv, ends }) => {
    const args: object[] = argv.map(({ arg, when }) => (when === undefined ? { arg } : { arg, when }));
    if (ends !== undefined) args.splice(ends, 0, { arg: "--" });
    // All are used, and optional ones where they are given.
    const uses = NAMES.map((name) => ({
      arg: `--${name}={${name}}`,
      ...(required.includes(name) ? {} : { when: name }),
    }));
    const stated = properties.map((it, index) => [NAMES[index], { ...it, description: "It." }]);
    return definitionOf({
      parameters: { type: "object", required, properties: Object.fromEntries(stated) },
      steps: [{ argv: ["x", ...args, ...uses] }],
    });
  });

test("no value changes the shape of an argv [G32]", () => {
  let accepted = 0;
  fc.assert(
    fc.property(definition, fc.gen(), (text, data) => {
      const read = readDefinition(text, { skill: "demo", files: new Map() });
      fc.pre(!("problems" in read));
      if ("problems" in read) return;
      accepted += 1;
      const [capability] = read.definition.capabilities;
      const [step] = capability?.steps ?? [];
      if (!capability || !step) throw new Error("nothing was read");
      const values = chosen(capability.parameters, data);
      fc.pre(capability.parameters.every((it) => !it.required || it.name in values));
      const argv = argvOf(step, values, BUILTINS) ?? [];
      expectShape(argv, step, values);
    }),
    // To shrink what is mostly refused would take minutes.
    { numRuns: 300, endOnFailure: true },
  );
  expect(accepted).toBeGreaterThan(200);
});
