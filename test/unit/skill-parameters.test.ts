import { schemaToJson } from "@cedar-policy/cedar-wasm/nodejs";
import { expect, test } from "vitest";
import { z } from "zod";
import { contextType, factsOf, inputSchema, pathFacts } from "../../src/skill/parameters.ts";
import { mayBeginWithDash, patternProblem, wholeText } from "../../src/skill/pattern.ts";
import type { Parameter, ParameterType } from "../../src/skill/skill.ts";

const parameter = (name: string, type: ParameterType, more: Partial<Parameter> = {}): Parameter => ({
  name,
  description: `The ${name}.`,
  type,
  required: true,
  ...more,
});

const ALL: readonly Parameter[] = [
  parameter("path", { kind: "path" }),
  parameter("into", { kind: "path" }, { required: false, default: "out/../x" }),
  parameter("kind", { kind: "enum", values: ["line", "bar"] }, { required: false, default: "line" }),
  parameter("top", { kind: "integer", minimum: 1, maximum: 1000 }, { required: false, default: 50 }),
  parameter("log", { kind: "boolean" }, { required: false, default: false }),
  parameter("y", { kind: "strings", maxItems: 2, maxLength: 5 }),
  parameter("title", { kind: "string", minLength: 0, maxLength: 5 }, { required: false }),
  parameter("word", { kind: "string", minLength: 1, maxLength: 5, pattern: "a|bc" }, { required: false }),
  parameter("host", { kind: "host" }, { required: false }),
  parameter("url", { kind: "url" }, { required: false }),
];

/** One value of one kind, as it comes out. */
function read(type: ParameterType, value: unknown): unknown {
  const parsed = inputSchema([parameter("it", type)]).safeParse({ it: value });
  return parsed.success ? parsed.data["it"] : undefined;
}

const TEXT = { kind: "string", minLength: 1, maxLength: 3 } as const;

test.each<[ParameterType, unknown, unknown]>([
  [TEXT, "abc", "abc"],
  [TEXT, "{a}", "{a}"],
  [{ ...TEXT, pattern: "a|bc" }, "bc", "bc"],
  [{ kind: "enum", values: ["a", "b"] }, "b", "b"],
  [{ kind: "path" }, "a/../b//c/", "/workspace/b/c"],
  [{ kind: "path" }, "/../../etc/./x", "/etc/x"],
  [{ kind: "path" }, "-rf", "/workspace/-rf"],
  [{ kind: "host" }, "EXAMPLE.org.", "example.org"],
  [{ kind: "host" }, "bücher.example:0443", "xn--bcher-kva.example:443"],
  [{ kind: "host" }, "2130706433:80", "127.0.0.1:80"],
  [{ kind: "host" }, "2001:DB8::0:1", "2001:db8::1"],
  [{ kind: "host" }, "[2001:db8::1]:8443", "[2001:db8::1]:8443"],
  [{ kind: "host" }, "[::ffff:127.0.0.1]:8443", "127.0.0.1:8443"],
  [{ kind: "url" }, "HTTPS://Example.ORG:443/a/../b?q= x", "https://example.org/b?q=%20x"],
  [{ kind: "url" }, "http://0x7f.1/", "http://127.0.0.1/"],
  [{ kind: "url" }, "http://[::ffff:7f00:1]:81", "http://127.0.0.1:81/"],
  [{ kind: "url" }, "https://example.org./", "https://example.org/"],
  [{ kind: "integer", minimum: -1, maximum: 3 }, -1, -1],
  [{ kind: "boolean" }, false, false],
  [{ kind: "strings", maxItems: 2, maxLength: 2 }, ["-a", ""], ["-a", ""]],
])("%j takes %j", (type, given, expected) => {
  const value = read(type, given);
  expect(value).toEqual(expected);
  // What has been read is in its one spelling.
  expect(read(type, value)).toEqual(expected);
});

test.each<[ParameterType, unknown]>([
  [TEXT, ""],
  [TEXT, "abcd"],
  [TEXT, "a\0"],
  [TEXT, "\ud800"],
  [TEXT, 1],
  [TEXT, null],
  [{ ...TEXT, pattern: "a|bc" }, "abc"],
  [{ ...TEXT, pattern: "a" }, "a\n"],
  [{ kind: "enum", values: ["a"] }, "A"],
  [{ kind: "path" }, ""],
  [{ kind: "path" }, "a\0b"],
  [{ kind: "path" }, "a".repeat(256)],
  [{ kind: "path" }, "a/".repeat(257)],
  [{ kind: "host" }, "a b"],
  [{ kind: "host" }, "-x.example"],
  [{ kind: "host" }, "https://example.org"],
  [{ kind: "host" }, "example.org:0"],
  [{ kind: "host" }, "example.org:65536"],
  [{ kind: "host" }, ":80"],
  [{ kind: "host" }, "user@example.org"],
  [{ kind: "url" }, "file:///etc/passwd"],
  [{ kind: "url" }, "ext::sh -c x"],
  [{ kind: "url" }, "javascript:alert(1)"],
  [{ kind: "url" }, "//example.org"],
  [{ kind: "url" }, "https://user@example.org/"],
  [{ kind: "url" }, "https://:secret@example.org/"],
  [{ kind: "url" }, "https://example.org/#part"],
  [{ kind: "url" }, "https://example.org/#"],
  [{ kind: "url" }, "https://-x.example/"],
  [{ kind: "integer", minimum: 1, maximum: 3 }, 0],
  [{ kind: "integer", minimum: 1, maximum: 3 }, 1.5],
  [{ kind: "integer", minimum: 1, maximum: 3 }, "1"],
  [{ kind: "boolean" }, "false"],
  [{ kind: "strings", maxItems: 1, maxLength: 2 }, ["a", "b"]],
  [{ kind: "strings", maxItems: 1, maxLength: 2 }, ["abc"]],
  [{ kind: "strings", maxItems: 1, maxLength: 2 }, ["\0"]],
  [{ kind: "strings", maxItems: 1, maxLength: 2 }, "a"],
])("%j does not take %j", (type, given) => {
  expect(read(type, given)).toBeUndefined();
});

test("nothing unknown is taken, nothing required is left out, and defaults are read like values", () => {
  const schema = inputSchema(ALL);
  expect(schema.safeParse({ path: "a", y: [], zzz: 1 }).success).toBe(false);
  expect(schema.safeParse({ path: "a" }).success).toBe(false);
  expect(schema.parse({ path: "a", y: [] })).toEqual({
    path: "/workspace/a",
    into: "/workspace/x",
    kind: "line",
    top: 50,
    log: false,
    y: [],
  });
});

test("clients are told bounds, choices, defaults and what each is for", () => {
  const { properties, required } = z.toJSONSchema(inputSchema(ALL), { io: "input" });
  expect(required).toEqual(["path", "y"]);
  expect(properties).toMatchObject({
    path: { type: "string", description: "The path." },
    into: { type: "string", default: "out/../x", description: "The into." },
    kind: { enum: ["line", "bar"], default: "line", description: "The kind." },
    top: { type: "integer", minimum: 1, maximum: 1000, default: 50 },
    log: { type: "boolean", default: false },
    y: { type: "array", maxItems: 2, items: { type: "string", maxLength: 5 } },
    title: { type: "string", maxLength: 5, description: "The title." },
    word: { type: "string", minLength: 1, maxLength: 5, pattern: "^(?:a|bc)$" },
    host: { type: "string", description: "The host." },
    url: { type: "string", description: "The url." },
  });
});

test("the context's type is Cedar's, and facts are what it says", () => {
  const type = contextType(ALL);
  expect(type).toBe(
    '{ "path": Path, "into": Path, "kind": String, "top": Long, "log": Bool, "y": Set<String>, "title"?: String, "word"?: String, "host"?: String, "url"?: String }',
  );
  const schema = (context: string) =>
    schemaToJson(
      `namespace G { entity P; entity Path in [Path]; action "a_b" appliesTo { principal: [P], resource: [P], context: ${context} }; }`,
    ).type;
  expect(schema(type)).toBe("success");
  expect(schema(contextType([]))).toBe("success");
  const args = inputSchema(ALL).parse({ path: "a", y: ["b"], title: "t" });
  expect(factsOf(ALL, args)).toEqual({
    path: "/workspace/a",
    into: "/workspace/x",
    kind: "line",
    top: 50,
    log: false,
    y: ["b"],
    title: "t",
  });
  expect(pathFacts(ALL)).toEqual(["path", "into"]);
});

test.each([
  "[a-z]+(-[a-z0-9]+)*",
  "(?:[a-z]+\\.)+[a-z]{2,}",
  "(?:ab){2,5}",
  "(a|b)?c",
  "\\d{4}-\\d{2}",
  "\\p{L}[^\\]]*",
  "(?!-)[\\w.]+",
])("a pattern that takes no more than it should: %s", (pattern) => {
  expect(patternProblem(pattern)).toBeUndefined();
});

test.each([
  ["([a-z]+)*", /repeats a group/],
  ["([a-z]+)+$", /repeats a group/],
  ["(a|a)*", /repeats a group/],
  ["(a|aa){2,}", /repeats a group/],
  ["(a?){30}", /repeats a group/],
  ["(?:(a)b*)+", /repeats a group/],
  ["(-[a-z-]+)*", /repeats a group/],
  ["(-?[a-z]+)*", /repeats a group/],
  ["(-*[a-z]+){9}", /repeats a group/],
  ["(\\w[a-z]+)*", /repeats a group/],
  ["(.a+)*", /repeats a group/],
  ["(?<x>a)\\k<x>", /refers back/],
  ["(a)\\1", /refers back/],
  ["a)|(b", /no regular expression/],
  ["[a", /no regular expression/],
  ["\\-", /no regular expression/],
  ["a".repeat(501), /longer than 500/],
])("a pattern that could take for ever, or is none: %s", (pattern, expected) => {
  expect(patternProblem(pattern)).toMatch(expected);
});

test("a pattern that is accepted is fast on what it was not made for", () => {
  for (const pattern of ["[a-z]+(-[a-z0-9]+)*", "(?:[a-z]+\\.)+[a-z]{2,}", "[a-z]*[a-z]*x"]) {
    const startedMs = performance.now();
    for (const text of ["a".repeat(1000), "a-".repeat(500), "a.".repeat(500)]) wholeText(pattern).test(`${text}!`);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  }
});

test.each(["a", "[a-z]*", "(?!-)", "-", "|a", "", "^", "(a)", "\\w?", "[\\w-]", "a{0}", "$"])(
  "whether a text may begin with a dash is said as it is, or too carefully: %j",
  (pattern) => {
    const matching = ["-", "--", "-a", "-1", "- "].filter((it) => wholeText(pattern).test(it));
    if (matching.length > 0) expect(mayBeginWithDash(pattern)).toBe(true);
  },
);
