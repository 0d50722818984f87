import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { scriptFacts } from "../../src/policy/shell/facts.ts";
import { recordingBash } from "../support/bash.ts";
import { bundleOf } from "../support/bundle.ts";
import { BY_ARGUMENTS, HOSTILE_SCRIPTS } from "../support/hostile-scripts.ts";
import { ORDINARY_SCRIPTS } from "../support/ordinary-scripts.ts";
import { shellScript } from "../support/shell-scripts.ts";

type Bash = ReturnType<typeof recordingBash>;

/** What bash runs of a script when all its commands succeed (0) or fail (1), in JSON and sorted, once each. */
function ran(bash: Bash, script: string, status: 0 | 1): string[] {
  const { commands, stderr, files } = bash.run(script, status);
  expect({ script, stderr, files }).toEqual({ script, stderr: "", files: [] });
  return [...new Set(commands.map((it) => JSON.stringify(it)))].toSorted();
}

/** Which commands of a list with `&&` or `||` run is for exit codes to decide: without it, none is left out. */
function compare(bash: Bash, script: string): void {
  const { commands } = scriptFacts(script, {});
  const seen = Array.isArray(commands) ? commands.map(String).toSorted() : [];
  const [whenTrue, whenFalse] = [ran(bash, script, 0), ran(bash, script, 1)];
  expect({ script, seen }).toEqual({ script, seen: expect.arrayContaining([...whenTrue, ...whenFalse]) });
  if (!script.includes("||")) expect({ script, whenTrue }).toEqual({ script, whenTrue: seen });
  if (!script.includes("&&")) expect({ script, whenFalse }).toEqual({ script, whenFalse: seen });
}

/** What has a slash is run, not recorded. */
function isComparable(script: string): boolean {
  const { opaque, programs } = scriptFacts(script, {});
  return opaque === false && !String(programs).includes("/");
}

test("bash runs of a simple script what policy saw of it, and nothing else [G30]", () => {
  using bash = recordingBash();
  fc.assert(
    fc.property(shellScript, (script) => {
      fc.pre(isComparable(script));
      compare(bash, script);
    }),
    { numRuns: 60, maxSkipsPerRun: 10_000 },
  );
});

test("so it does of what people, models and attackers write [G30]", () => {
  using bash = recordingBash();
  const written = [...ORDINARY_SCRIPTS, ...BY_ARGUMENTS, ...Object.values(HOSTILE_SCRIPTS).flat()].map(([it]) => it);
  const comparable = written.filter(isComparable);
  expect(comparable.length).toBeGreaterThan(ORDINARY_SCRIPTS.length + BY_ARGUMENTS.length);
  for (const script of comparable) compare(bash, script);
});

test("no builtin and no keyword of bash is taken for a program, but those that the page names", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "policy.md"), "utf8");
  const [, left = ""] = page.match(/What is left: (.*);/) ?? [];
  const names = spawnSync("/bin/bash", ["--norc", "-c", "compgen -bk"]).stdout.toString().trim().split("\n");
  expect(names.length).toBeGreaterThan(70);
  const simple = names.filter((it) => scriptFacts(`'${it}' x`, {}).opaque === false);
  expect(simple.toSorted()).toEqual([...left.matchAll(/`([^`]+)`/g)].map(([, it]) => it).toSorted());
});

test("no script is too much for it: whatever it is, there are facts of it that Cedar can decide with", () => {
  const anything = bundleOf(`permit (principal, action == Glovebox::Action::"shell", resource);`);
  const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" } as const;
  fc.assert(
    fc.property(fc.oneof(shellScript, fc.string({ unit: "binary-ascii", maxLength: 60 })), (script) => {
      const facts = scriptFacts(script, {});
      const described = describeCall("shell", { script }, principal);
      if ("problem" in described) return;
      expect(evaluate(anything, described.request)).toMatchObject({ outcome: "permit", problems: [] });
      if (facts.opaque === false) expect(facts.programs).not.toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test.each([
  ["substitutions", "$(".repeat(5_000)],
  ["subshells", "(".repeat(16_000)],
  ["braces", "{ ".repeat(8_000)],
  ["conditions", "if ".repeat(5_000)],
  ["parameters", ['"$', "{a:-"].join("").repeat(2_500)],
  ["arithmetic", `echo $((${"(".repeat(8_000)}`],
  ["backquotes", "`".repeat(16_000)],
  ["here-documents", "cat <<a\n".repeat(2_000)],
  ["open quotes", `echo "${'\\"'.repeat(8_000)}`],
  ["dollars", "$".padEnd(4_096, "{$$")],
  ["commands", "a;".repeat(8_000)],
  ["patterns", "echo ".padEnd(16_000, "[")],
  ["extended patterns", `echo ${"@(".repeat(8_000)}`],
  ["brace expansions", `echo ${"{a,".repeat(5_000)}`],
  ["cases", "case a in a) ".repeat(1_200)],
  ["functions", "a() ".repeat(4_000)],
])("much of %s does not stop it", (_, script) => {
  const { opaque, programs, commandCount } = scriptFacts(script.slice(0, 4_096), {});
  expect([opaque, commandCount]).toEqual([true, expect.any(Number)]);
  expect(programs).toBeInstanceOf(Array);
});
