import { spawnSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findTested } from "../../src/cli/skill-test-find.ts";
import { resultText, summary } from "../../src/cli/skill-test-text.ts";
import { problemText } from "../../src/policy/bundle.ts";
import { folderOf, goodSkill } from "../support/skill.ts";

const TESTS = "- name: one\n  capability: show\n  expect: {}\n";
const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");

async function find(named: readonly string[], own: readonly string[] = []) {
  const { skills, problems, directories } = await findTested(named, own, new Set(["exec"]));
  return {
    skills: skills.map(({ skill, tests }) => `${skill.name}: ${tests?.map((it) => it.name) ?? "none"}`),
    problems: problems.map(problemText),
    directories,
  };
}

const tested = (name: string) => ({ ...goodSkill(name), [`${name}/tests.yaml`]: TESTS });

test("skills are those of a folder, or those that are named, and a gateway looks where they lie", async () => {
  const own = folderOf(goodSkill("own"));
  const root = folderOf({ ...tested("a"), ...goodSkill("b"), ...tested("c"), "broken/SKILL.md": "" });
  expect(await find([join(root, "a"), `${root}/b/`], [own])).toEqual({
    skills: ["a: one", "b: none"],
    problems: [],
    directories: [own, root],
  });
  const all = await find([root, join(root, "a")]);
  expect(all.skills).toEqual(["a: one", "b: none", "c: one"]);
  expect(all.problems.join("\n")).toMatch(/broken\/SKILL\.md:1:1: has no front matter/);
  expect((await find([own], [own])).directories).toEqual([own]);
});

test("a folder of two names is one", async () => {
  const root = folderOf(tested("a"));
  const links = folderOf({});
  const linked = join(links, "skills");
  symlinkSync(root, linked);
  expect(await find([root], [linked])).toEqual({ skills: ["a: one"], problems: [], directories: [linked] });
  expect(await find([join(linked, "a"), root])).toMatchObject({ skills: ["a: one"], directories: [root] });
});

test("what a gateway would refuse is told of, and is not tested", async () => {
  const root = folderOf({
    ...tested("a"),
    ...tested("locked"),
    ...tested("wrong"),
    "wrong/tests.yaml": "[]",
    "skills.lock": `format: 1\nskills:\n  - { name: locked, version: 1.0.0, digest: "sha256:${"0".repeat(64)}" }\n`,
  });
  const found = await find([root], [folderOf(tested("a"))]);
  expect(found.skills).toEqual([]);
  expect(found.problems).toEqual([
    expect.stringMatching(/a\/SKILL\.md: there is another skill `a`/),
    expect.stringMatching(/locked\/SKILL\.md: the skill is not what skills\.lock has.*; fix: review it/),
    expect.stringMatching(/wrong\/tests\.yaml:1:1: /),
  ]);
  writeFileSync(join(root, "skills.lock"), "format: 2\nskills: []\n");
  expect((await find([join(root, "a")])).problems.join("\n")).toMatch(
    /skills\.lock:1:9: .*\n.*a\/SKILL\.md: the skill is not/,
  );
});

test("what is no folder is refused", async () => {
  const root = folderOf({ x: "" });
  for (const it of ["x", "none"]) {
    await expect(find([join(root, it)])).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  }
});

test("`skill check` tells what is wrong with tests, of a skill and of a folder of them", () => {
  const root = folderOf({ ...tested("a"), "a/tests.yaml": TESTS.replace("show", "shew") });
  for (const directory of ["a", "."]) {
    const { status, stdout } = spawnSync(process.execPath, [ENTRY, "skill", "check", directory], {
      cwd: root,
      encoding: "utf8",
    });
    expect({ status, stdout }).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^a\/tests\.yaml:2:15: the skill has no `shew`; fix: there are `show`$/m),
    });
  }
});

test("results are counted and shown", () => {
  const plain = { green: String, red: String, yellow: String, dim: String } as never;
  const about = { test: "one", capability: "show", durationMs: 1_234 };
  const tests = [
    { ...about, outcome: "passed" as const },
    { ...about, outcome: "failed" as const, differences: ["json.a: 2, not 1"], answer: "a\nb" },
    { ...about, outcome: "left-out" as const, why: "the host x: no policy permits it" },
  ];
  expect(tests.map((it) => resultText(it, plain)).join("\n")).toBe(
    `  passed    one (1.2 s)
  FAILED    one (1.2 s)
            json.a: 2, not 1
            it answered:
              a
              b
  left out  one: the host x: no policy permits it`,
  );
  const results = [{ name: "demo", version: "1.0.0", digest: "sha256:0", tests }];
  expect(summary(results, 0)).toEqual({
    counts: { passed: 1, failed: 1, leftOut: 1 },
    text: "1 passed, 1 failed, 1 left out",
  });
  expect(summary(results, 2).text).toBe("1 passed, 1 failed, 1 left out, 2 problems");
});
