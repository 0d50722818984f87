import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { scriptFacts } from "../../src/policy/shell/facts.ts";
import { bundleOf } from "../support/bundle.ts";
import { BY_ARGUMENTS, HOSTILE_SCRIPTS } from "../support/hostile-scripts.ts";
import { ORDINARY_SCRIPTS } from "../support/ordinary-scripts.ts";

const PRINCIPAL = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" } as const;

/** Permits simple scripts all of whose facts of one kind are listed. */
function allowing(fact: "programs" | "subcommands", listed: readonly string[]): Bundle {
  return bundleOf(`permit (principal, action == Glovebox::Action::"shell", resource)
    when { !context.opaque && ${JSON.stringify(listed)}.containsAll(context.${fact}) };`);
}

const byProgram = allowing("programs", ["ls", "cat", "git", "echo", "grep", "rg", "wc", "sort", "head"]);
const bySubcommand = allowing(
  "subcommands",
  ["ls", "ls -la", "git status", "git log", "git diff", "echo done", "head -3", "head -20", "wc -l", "sort -u"].map(
    (it) => JSON.stringify(it.split(" ")),
  ),
);

function outcome(bundle: Bundle, script: string, env: Readonly<Record<string, string>> = {}): string {
  const described = describeCall("shell", { script, env }, PRINCIPAL);
  // A script that the tool itself refuses is not run either.
  return "problem" in described ? "refused" : evaluate(bundle, described.request).outcome;
}

describe.each(Object.entries(HOSTILE_SCRIPTS))("none may be taken for a simple allowed command: %s", (_, scripts) => {
  test.each(scripts)("%j: %s", (script) => {
    expect(outcome(byProgram, script)).not.toBe("permit");
    expect(outcome(bySubcommand, script)).not.toBe("permit");
  });
});

test.each(BY_ARGUMENTS)("what a program does with its words is for lists of subcommands: %j: %s", (script) => {
  expect(outcome(byProgram, script)).toBe("permit");
  expect(outcome(bySubcommand, script)).toBe("deny");
});

test("the corpus is as large as it says, and no script is in it twice", () => {
  const scripts = Object.values(HOSTILE_SCRIPTS).flatMap((it) => it.map(([script]) => script));
  expect(new Set(scripts).size).toBe(scripts.length);
  expect(scripts.length).toBeGreaterThanOrEqual(300);
});

test.each([["PATH"], ["BASH_ENV"], ["LD_PRELOAD"], ["LC_ALL"], ["NODE_ENV"]])(
  "a call that adds %s to the environment has an opaque script",
  (name) => {
    expect(outcome(byProgram, "ls")).toBe("permit");
    expect(outcome(byProgram, "ls", { [name]: "x" })).toBe("deny");
  },
);

test.each(ORDINARY_SCRIPTS)("%j is simple, and its facts are exact", (script, argvs) => {
  expect(scriptFacts(script, {})).toEqual({
    opaque: false,
    programs: [...new Set(argvs.map(([name]) => name))],
    subcommands: [...new Set(argvs.map((it) => JSON.stringify(it.slice(0, 2))))],
    commands: argvs.map((it) => JSON.stringify(it)),
    commandCount: argvs.length,
  });
});

test("lists permit what they list", () => {
  for (const script of ["ls", "git log | head -3", "git status && echo done", "ls -la 2>/dev/null | wc -l"]) {
    expect([script, outcome(byProgram, script), outcome(bySubcommand, script)]).toEqual([script, "permit", "permit"]);
  }
});

test("the policies that the page writes are valid, and decide as it says", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "policy.md"), "utf8");
  const [block = ""] = page.match(/(?<=and that the script isn't opaque:\n\n)(?:(?: {4}.*)?\n)+/) ?? [];
  const bundle = bundleOf(block);
  expect([...bundle.policies.keys()]).toEqual(["t.cedar#look-around", "t.cedar#git-history"]);
  expect(outcome(bundle, "ls | head -3")).toBe("permit");
  expect(outcome(bundle, "git log; git status")).toBe("permit");
  expect(outcome(bundle, "git log | head -3")).toBe("deny");
  expect(outcome(bundle, "git push")).toBe("deny");
  expect(outcome(bundle, "ls $x")).toBe("deny");
});

test("of an opaque script it is said what was found, at any depth, for forbids that say what to do instead", () => {
  const script = `if true; then f() { curl -d "$x" y; }; for i in a b; do echo $(git push origin); done; fi; $c z`;
  expect(scriptFacts(script, {})).toEqual({
    opaque: true,
    programs: ["true", "curl", "echo", "git"],
    subcommands: ['["true"]', '["curl","-d"]', '["git","push"]'],
    commands: ['["true"]', '["git","push","origin"]'],
    commandCount: 5,
  });
});

test("what would be too much for Cedar is opaque, and cut", () => {
  const many = scriptFacts("a;".repeat(65), {});
  expect(many).toMatchObject({ opaque: true, programs: ["a"], commandCount: 65 });
  expect(scriptFacts("a;".repeat(64), {})).toMatchObject({ opaque: false, commandCount: 64 });
  const long = `echo ${"x".repeat(16_379)}`;
  expect(scriptFacts(long, {})).toMatchObject({ opaque: true, commandCount: 1, commands: [] });
  expect(scriptFacts(`${long} x`, {})).toMatchObject({ opaque: true, commandCount: 0 });
  expect(scriptFacts(`echo ${"ä".repeat(8_190)}`, {})).toMatchObject({ opaque: true, commandCount: 0 });
});

test("a policy that names words which no script has is refused, with what was meant", () => {
  const forbidding = (condition: string) => () =>
    bundleOf(`@reason("r") forbid (principal, action == Glovebox::Action::"shell", resource) when { ${condition} };`);
  expect(forbidding('context.subcommands.contains("git push")')).toThrow("no subcommand of a script");
  expect(forbidding('context.subcommands.contains("[\\"git\\",\\"push\\",\\"x\\"]")')).toThrow("first two words");
  expect(forbidding('["[\\"git\\", \\"push\\"]"].containsAny(context.commands)')).toThrow("no command of a script");
  expect(forbidding('context.commands.contains("[\\"git\\",\\"push\\",\\"x\\"]")')).not.toThrow();
  expect(forbidding('context.subcommands.contains("[\\"git\\",\\"push\\"]")')).not.toThrow();
});
