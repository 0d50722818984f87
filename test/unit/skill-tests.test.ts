import fc from "fast-check";
import { expect, test } from "vitest";
import type { CallResult } from "../../src/call/ports.ts";
import { type ErrorCode, GatewayError } from "../../src/errors.ts";
import { problemText } from "../../src/policy/bundle.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { skillOf } from "../../src/skill/load.ts";
import { missingOf } from "../../src/skill/missing.ts";
import type { Skill } from "../../src/skill/skill.ts";
import { differencesOf } from "../../src/skill/test-compare.ts";
import { runTests, type TestResult } from "../../src/skill/test-run.ts";
import { testWorkspace } from "../../src/skill/test-workspace.ts";
import { readTests } from "../../src/skill/tests.ts";
import type { Expectation } from "../../src/skill/tests-schema.ts";
import { definitionOf, INTRODUCTION } from "../support/skill.ts";

const PARAMETERS = {
  type: "object",
  required: ["path"],
  properties: {
    path: { type: "string", format: "path", description: "A file." },
    top: { type: "integer", minimum: 1, maximum: 9, default: 5, description: "How many." },
    url: { type: "string", format: "url", description: "An address." },
  },
};
const ARGV = [
  "true",
  "--file={path}",
  "--top={top}",
  // Only where it is given.
  { arg: "--url={url}", when: "url" },
];

/** The skill `demo` with the capability `show` and these tests. */
function skillWith(tests: string | Buffer | undefined, changes: object = {}): Skill {
  const definition = definitionOf({
    parameters: PARAMETERS,
    steps: [{ argv: ARGV }],
    output: { kind: "json" },
    ...changes,
  });
  const files = Object.entries({ "SKILL.md": INTRODUCTION, "capabilities.yaml": definition, "tests.yaml": tests });
  const content = files.flatMap(([path, it]) =>
    it === undefined ? [] : [[path, { content: Buffer.from(it), executable: false }] as const],
  );
  const read = skillOf("demo", new Map(content), new Set());
  if ("problems" in read) throw new Error(read.problems.map(problemText).join("\n"));
  return read.skill;
}

function problemsOf(tests: string | Buffer, changes: object = {}): string {
  const read = readTests(skillWith(tests, changes));
  return read && "problems" in read ? read.problems.map(problemText).join("\n") : "";
}

const testOf = (changes = "") =>
  `- name: one\n  capability: show\n  arguments: { path: a }\n  expect: { exitCode: 0 }\n${changes}`;

test("a skill without tests has none, and tests are what the file says", () => {
  expect(readTests(skillWith(undefined))).toBeUndefined();
  const text = `- name: one
  files: { /workspace/a/../b.txt: "x", c.bin: { base64: "AAE=" } }
  capability: show
  arguments: { path: b.txt }
  expect: { exitCode: 3, contains: [x], json: { a: 1 }, files: [out.txt] }
  needs: ["npm:is-number@7.0.0"]
`;
  expect(readTests(skillWith(text))).toEqual({
    tests: [
      {
        name: "one",
        files: [
          { path: "/workspace/b.txt", text: "x" },
          { path: "/workspace/c.bin", base64: "AAE=" },
        ],
        capability: "show",
        arguments: { path: "b.txt" },
        expect: { exitCode: 3, contains: ["x"], json: { a: 1 }, files: ["/workspace/out.txt"] },
        needs: [{ ecosystem: "npm", name: "is-number", version: "7.0.0" }],
      },
    ],
  });
});

test.each<[string, string | Buffer, RegExp]>([
  ["nothing in it", "", /^tests\.yaml:1:1: /],
  ["an empty list", "[]", /^tests\.yaml:1:1: /],
  ["what is no text", Buffer.from([0xff]), /^tests\.yaml: is not valid UTF-8; fix:/],
  ["an unknown key", testOf("  skip: true\n"), /^tests\.yaml:5:9: 0\.skip: Unrecognized key.*fix: remove/],
  ["an unknown expectation", testOf().replace("exitCode", "exit"), /^tests\.yaml:4:19: .*fix: remove/],
  ["no name", testOf().replace("name: one", "name: ''"), /^tests\.yaml:1:9: .*must not be empty/],
  ["a name that hides something", testOf().replace("one", '"o\\u202ene"'), /characters that nobody sees/],
  ["a name twice", testOf() + testOf(), /^tests\.yaml:5:9: there is a test `one` already; fix:/],
  [
    "no such capability",
    testOf().replace("show", "shew"),
    /^tests\.yaml:2:15: the skill has no `shew`; fix: there are `show`/,
  ],
  [
    "an argument that is missing",
    testOf().replace("path: a", ""),
    /^tests\.yaml:3:14: path: .*error: INVALID_ARGUMENTS/,
  ],
  ["an argument that is unknown", testOf().replace("path: a", "path: a, tops: 1"), /^tests\.yaml:3:31: .*"tops"/],
  ["a session of the test's own", testOf().replace("path: a", "path: a, sessionId: ses-1"), /"sessionId"/],
  ["an argument out of range", testOf().replace("path: a", "path: a, top: 10"), /^tests\.yaml:3:30: top: /],
  ["an argument `__proto__`", testOf().replace("path: a", "path: a, __proto__: {}"), /has a key `__proto__`/],
  ["a file `__proto__`", testOf("  files: { __proto__: x }\n"), /has a key `__proto__`/],
  [
    "a file outside the workspace",
    testOf("  files: { /workspace/../etc/x: y }\n"),
    /^tests\.yaml:5:33: .*not below \/workspace/,
  ],
  ["the workspace itself as a file", testOf("  files: { /workspace: y }\n"), /not below \/workspace/],
  ["a file that is no base64", testOf("  files: { a: { base64: '?' } }\n"), /^tests\.yaml:5:25: .*base64/],
  ["a file that is neither text nor base64", testOf("  files: { a: 1 }\n"), /must be text, or/],
  ["an expected file elsewhere", testOf().replace("exitCode: 0", "files: [/tmp/x]"), /not below \/workspace/],
  [
    "an error that there isn't",
    testOf().replace("exitCode: 0", "error: OOPS"),
    /^tests\.yaml:4:20: .*docs\/errors\.md/,
  ],
  [
    "an exit code of a failed call",
    testOf().replace("exitCode: 0", "exitCode: 1, error: DENIED"),
    /fails with DENIED has none/,
  ],
  ["a picture of what gives none", testOf().replace("exitCode: 0", "image: true"), /`show` gives json, not image/],
  [
    "a need of what needs none",
    testOf("  needs: [packages]\n"),
    /^tests\.yaml:5:11: `show` states no packages.*npm:is-number/,
  ],
  ["a need that is none", testOf("  needs: [luck]\n"), /must be `packages`/],
  ["an alias", testOf("  needs: &a []\n") + testOf().replace("one", "two").replace("{ path: a }", "*a"), /aliases/],
])("%s is refused", (_, text, expected) => {
  expect(problemsOf(text)).toMatch(expected);
});

test("what is about wrong arguments may have them", () => {
  const wrong = testOf().replace("path: a", "path: a, top: 10, more: 1");
  expect(problemsOf(wrong.replace("exitCode: 0", "error: INVALID_ARGUMENTS"))).toBe("");
});

/** What a skill's capability answers. */
function done(result: object = {}, pictures = 0): CallResult {
  const whole = { ok: true, exitCode: 0, durationMs: 1, text: "", truncated: false, ...result };
  const text = `--- stdout\n${whole.text.trimEnd()}`;
  const picture = { mimeType: "image/png", base64: "AA==" };
  return {
    kind: "done",
    callId: "call-1",
    outcome: { result: whole, text, pictures: Array(pictures).fill(picture), facts: {} },
  };
}

const failure = (code: ErrorCode, message?: string): CallResult => {
  return { kind: "failed", callId: "call-1", error: new GatewayError(code, message) };
};

const denied = (): CallResult => ({
  kind: "denied",
  callId: "call-1",
  decision: {
    outcome: "deny",
    policies: [{ id: "no", effect: "forbid", reason: "not here" }],
    problems: [],
    bundle: { name: "b", version: "1", digest: "d" },
  } as never,
});

test.each<[string, Expectation, CallResult, RegExp | undefined]>([
  ["nothing but success", {}, done(), undefined],
  ["a failed step", {}, done({ ok: false, failedStep: 1, exitCode: 7 }), /^step 1 failed: it ended with exit code 7$/],
  [
    "a program that was ended",
    { exitCode: 0 },
    done({ ok: false, exitCode: undefined, endedBy: "timeout" }),
    /by timeout/,
  ],
  ["an exit code that is a failure", { exitCode: 7 }, done({ ok: false, failedStep: 1, exitCode: 7 }), undefined],
  ["another exit code", { exitCode: 0 }, done({ exitCode: 1 }), /exit code 1, not with exit code 0/],
  ["text", { contains: ["a", "\nb\n"] }, done({ text: "a\nb\n" }), undefined],
  ["text that is not there", { contains: ["c"] }, done({ text: "a" }), /does not contain "c"/],
  [
    "text of an error",
    { error: "SKILL_FAILED", contains: ["no picture"] },
    failure("SKILL_FAILED", "no picture"),
    undefined,
  ],
  [
    "a part of an object",
    { json: { a: 1, b: { c: null } } },
    done({ json: { a: 1, b: { c: null, d: 2 }, e: 3 } }),
    undefined,
  ],
  ["another value", { json: { a: { b: 1 } } }, done({ json: { a: { b: 2 } } }), /^json\.a\.b: 2, not 1$/],
  ["a number that is text", { json: { a: 1 } }, done({ json: { a: "1" } }), /^json\.a: "1", not 1$/],
  ["a key that is not there", { json: { a: 1 } }, done({ json: {} }), /^json\.a: is not there$/],
  ["a key of every object", { json: { toString: 1 } }, done({ json: {} }), /^json\.toString: is not there$/],
  ["no JSON at all", { json: { a: 1 } }, done(), /^json: nothing, not an object$/],
  ["a shorter array", { json: [1] }, done({ json: [1, 2] }), /^json: 2 items, not 1/],
  ["an item of an array", { json: [{ a: 1 }] }, done({ json: [{ a: 2, b: 1 }] }), /^json\[0\]\.a: 2, not 1$/],
  ["an array where an object is", { json: {} }, done({ json: [] }), /not an object/],
  ["a picture", { image: true }, done({}, 1), undefined],
  ["a picture that is not there", { image: true }, done(), /no picture/],
  ["no picture", { image: false }, done({}, 1), /there is a picture/],
  ["an error", { error: "INVALID_ARGUMENTS" }, failure("INVALID_ARGUMENTS"), undefined],
  [
    "another error",
    { error: "DENIED" },
    failure("INVALID_ARGUMENTS"),
    /failed with INVALID_ARGUMENTS, not with DENIED/,
  ],
  ["an error that did not come", { error: "DENIED" }, done(), /did not fail with DENIED: it ended with exit code 0/],
  ["a denial", { error: "DENIED", contains: ["not here"] }, denied(), undefined],
  ["an error that nobody expects", { exitCode: 0 }, failure("MACHINE_LOST"), /failed with MACHINE_LOST/],
  ["a denial that nobody expects", {}, denied(), /^the call failed with DENIED$/],
])("compared: %s", (_, expectation, answer, difference) => {
  const [first, ...more] = differencesOf(expectation, answer);
  expect(more).toEqual([]);
  if (difference === undefined) expect(first).toBeUndefined();
  else expect(first).toMatch(difference);
});

test("any JSON is a part of itself", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const json = JSON.parse(JSON.stringify(value));
      expect(differencesOf({ json }, done({ json }))).toEqual([]);
    }),
  );
});

interface Fake {
  readonly calls: [string, object][];
  readonly run: (tests: string, changes?: object) => Promise<readonly TestResult[]>;
}

type Answers = Readonly<Record<string, (args: Record<string, unknown>, times: number) => CallResult | undefined>>;

/** A gateway's calls, answered as it answers them; `answers` go first. */
function gatewayOf(answers: Answers = {}, granted = true, signal = new AbortController().signal): Fake {
  const calls: [string, object][] = [];
  const other = (result: object): CallResult => ({
    kind: "done",
    callId: "c",
    outcome: { result, text: "", facts: {} },
  });
  const run = async (tests: string, changes: object = {}) => {
    const skill = skillWith(tests, changes);
    const read = readTests(skill);
    if (!read || "problems" in read) throw new Error(problemsOf(tests, changes));
    const policy = { outcome: granted ? "permit" : "deny", policies: [], problems: [] };
    const decide = () => ({ valid: true, decision: policy }) as never;
    const profile = profileSchema.parse({ packages: { allow: ["pip:*"] } });
    const missing = missingOf(skill, { decide, profile }).map(({ capabilities, ...it }) => ({
      ...it,
      tools: capabilities.map((name) => `demo_${name}`),
    }));
    const files = new Set<string>();
    const builtin: Answers = {
      useSkill: () =>
        other({ skill: "demo", version: "1.0.0", digest: skill.digest, tools: [], missing, instructions: "" }),
      resetSession: () => {
        files.clear();
        return other({});
      },
      exec: () => {
        files.clear();
        return other({ exitCode: 0 });
      },
      writeFile: ({ path }) => {
        files.add(String(path));
        return other({});
      },
      listDirectory: ({ path }) => {
        const names = [...files].filter((it) => it.startsWith(`${path}/`)).map((it) => it.slice(`${path}/`.length));
        return other({ entries: names.map((name) => ({ name })) });
      },
      explainPolicy: () => other({ ...policy, valid: true }),
      demo_show: () => done(),
    };
    const port = {
      signal,
      call: async (tool: string, args: object) => {
        calls.push([tool, args]);
        const times = calls.filter(([it]) => it === tool).length;
        const given = args as Record<string, unknown>;
        return answers[tool]?.(given, times) ?? builtin[tool]?.(given, times) ?? failure("UNKNOWN_TOOL");
      },
    };
    const none = () => undefined;
    return await runTests({
      skill,
      tests: read.tests,
      port,
      workspace: testWorkspace(port),
      onBegin: none,
      onEnd: none,
    });
  };
  return { calls, run };
}

const outcomes = (results: readonly TestResult[]) => results.map((it) => it.outcome);
const two = `${testOf()}${testOf('  files: { a: "x", b: { base64: "AA==" } }\n').replace("one", "two")}`;

test("each test begins with an empty workspace and the files it names", async () => {
  const { calls, run } = gatewayOf();
  const results = await run(two.replaceAll("{ exitCode: 0 }", "{ exitCode: 0, files: [a] }"));
  expect(outcomes(results)).toEqual(["failed", "passed"]);
  expect(results[0]).toMatchObject({ differences: ["/workspace/a is not there"], answer: "--- stdout\n" });
  expect(calls).toEqual([
    ["useSkill", { name: "demo" }],
    ["resetSession", {}],
    ["demo_show", { path: "a" }],
    ["listDirectory", { path: "/workspace", limit: 5_000 }],
    ["exec", { argv: ["find", "/workspace", "-mindepth", "1", "-delete"] }],
    ["writeFile", { path: "/workspace/a", content: "x" }],
    ["writeFile", { path: "/workspace/b", content: "AA==", encoding: "base64" }],
    ["demo_show", { path: "a" }],
    ["listDirectory", { path: "/workspace", limit: 5_000 }],
  ]);
});

test("where no program may run, the sandbox is begun anew", async () => {
  const { calls, run } = gatewayOf({ exec: denied });
  expect(outcomes(await run(two))).toEqual(["passed", "passed"]);
  expect(calls.filter(([tool]) => tool === "resetSession")).toHaveLength(2);
});

test("where nothing empties the workspace, the first test alone can be run", async () => {
  const results = await gatewayOf({ exec: denied, resetSession: denied }).run(two);
  expect(results).toMatchObject([
    { outcome: "passed" },
    { outcome: "failed", differences: ["the sandbox can't be begun anew: DENIED: not here"] },
  ]);
});

test("it is called again while the sandbox is prepared, which is begun once", async () => {
  const preparing = () => failure("STILL_PREPARING");
  const { calls, run } = gatewayOf({
    resetSession: preparing,
    demo_show: (_, times) => (times < 3 ? preparing() : undefined),
  });
  expect(outcomes(await run(testOf()))).toEqual(["passed"]);
  expect(calls.map(([tool]) => tool)).toEqual(["useSkill", "resetSession", "demo_show", "demo_show", "demo_show"]);
});

test("without a sandbox nothing is known of the skill", async () => {
  await expect(gatewayOf({ resetSession: () => failure("HOST_BUSY") }).run(testOf())).rejects.toMatchObject({
    code: "HOST_BUSY",
  });
  const stop = new AbortController();
  const stopping = () => {
    stop.abort(new GatewayError("SHUTTING_DOWN", "stopped"));
    return failure("CANCELLED");
  };
  await expect(gatewayOf({ demo_show: stopping }, true, stop.signal).run(testOf())).rejects.toThrow("stopped");
  const waiting = new AbortController();
  const later = () => {
    setTimeout(() => waiting.abort(), 10);
    return failure("STILL_PREPARING");
  };
  await expect(gatewayOf({ demo_show: later }, true, waiting.signal).run(testOf())).rejects.toMatchObject({
    code: "CANCELLED",
  });
});

test("what is only about arguments needs no sandbox", async () => {
  const { calls, run } = gatewayOf({ demo_show: () => failure("INVALID_ARGUMENTS") });
  expect(outcomes(await run(testOf().replace("exitCode: 0", "error: INVALID_ARGUMENTS")))).toEqual(["passed"]);
  expect(calls.map(([tool]) => tool)).toEqual(["useSkill", "demo_show"]);
});

test.each<[string, string, object, RegExp]>([
  ["packages", "packages", { packages: ["pip:six@1.16.0"] }, /^the package pip:six@1\.16\.0: no policy permits it$/],
  ["hosts", "hosts", { hosts: ["api.example.org"] }, /^the host api\.example\.org: no policy permits it$/],
  ["hosts that arguments name", "hosts", { hostsOf: ["url"] }, /^the host files\.example\.org: no policy permits it$/],
  ["secrets", "secrets", { secrets: ["TOKEN"] }, /^the secret TOKEN: the profile has none of this name$/],
  [
    "a package of the test's own",
    "'npm:is-number@7.0.0'",
    {},
    /^the package npm:is-number@7\.0\.0: no policy permits it$/,
  ],
])("left out where policy does not give %s", async (_, need, needs, why) => {
  const { calls, run } = gatewayOf({}, false);
  const args = "{ path: a, url: 'https://files.example.org:8443/x' }";
  const results = await run(testOf(`  needs: [${need}]\n`).replace("{ path: a }", args), { needs });
  expect(results).toMatchObject([{ outcome: "left-out", why: expect.stringMatching(why) }]);
  expect(calls.map(([tool]) => tool)).not.toContain("demo_show");
});

test("run where policy gives what a test needs", async () => {
  const needs = { packages: ["pip:six"], hosts: ["api.example.org"], hostsOf: ["url"] };
  const { calls, run } = gatewayOf();
  const text = testOf("  needs: [packages, hosts, 'npm:is-number']\n").replace(
    "path: a",
    "path: a, url: 'http://[2001:db8::1]/'",
  );
  expect(outcomes(await run(text, { needs }))).toEqual(["passed"]);
  expect(calls).toContainEqual([
    "explainPolicy",
    { tool: "connect", arguments: { host: "[2001:db8::1]", scheme: "http", port: 80 } },
  ]);
  expect(calls).toContainEqual([
    "explainPolicy",
    { tool: "package", arguments: { ecosystem: "npm", name: "is-number" } },
  ]);
});

test("a test that says nothing of what the skill lacks is run, and told of it when it fails", async () => {
  const needs = { secrets: ["TOKEN"] };
  expect(outcomes(await gatewayOf({}, false).run(testOf(), { needs }))).toEqual(["passed"]);
  const results = await gatewayOf({ demo_show: denied }, false).run(testOf(), { needs });
  expect(results).toMatchObject([
    {
      outcome: "failed",
      differences: [
        "the call failed with DENIED: there is no exit code 0",
        "the skill lacks the secret TOKEN: the profile has none of this name",
      ],
      answer: "DENIED: not here",
    },
  ]);
});

test("a skill that may not be used, or is another one by now, fails all its tests", async () => {
  const refused = await gatewayOf({ useSkill: denied }).run(two);
  expect(refused).toMatchObject([
    { outcome: "failed", differences: ["the skill can't be used: DENIED: not here"] },
    { outcome: "failed" },
  ]);
  const changed = () => {
    const result = { digest: "sha256:0", missing: [] };
    return { kind: "done" as const, callId: "c", outcome: { result, text: "", facts: {} } };
  };
  const { calls, run } = gatewayOf({ useSkill: changed });
  expect(await run(testOf())).toMatchObject([{ differences: [expect.stringContaining("has changed since")] }]);
  expect(calls).toHaveLength(1);
});

test("what a program in the sandbox printed moves no terminal", async () => {
  const hostile = "\u001b[2Jx\u0000\u202e";
  const [result] = await gatewayOf({ demo_show: () => done({ exitCode: 1, text: hostile, json: { a: hostile } }) }).run(
    testOf().replace("exitCode: 0", "exitCode: 0, json: { a: 1 }"),
  );
  if (result?.outcome !== "failed") throw new Error("passed");
  expect([...result.differences, result.answer].join("\n")).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
});
