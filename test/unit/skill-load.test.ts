import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { problemText } from "../../src/policy/bundle.ts";
import { readSkill, readSkills } from "../../src/skill/load.ts";
import { folderOf, goodSkill, INTRODUCTION } from "../support/skill.ts";

const TOOLS = new Set(["exec", "shell"]);

async function problemsOf(files: Record<string, string | Buffer>, name = "demo"): Promise<string> {
  const read = await readSkill(join(folderOf(files), name), TOOLS);
  return "problems" in read ? read.problems.map(problemText).join("\n") : "";
}

const introduced = (text: string | Buffer) => problemsOf({ ...goodSkill(), "demo/SKILL.md": text });

test("a skill is what its folder says", async () => {
  const head = `---
name: demo
description: |
  Does demonstrations.
  Of all kinds.
license: Apache-2.0
compatibility: Debian
metadata: { author: somebody, version: "1.0" }
allowed-tools: exec shell
---

# Do as shown

---
With a line.
`;
  const files = { ...goodSkill(), "demo/SKILL.md": head, "demo/scripts/x.py*": "#!" };
  const read = await readSkill(join(folderOf(files), "demo"), TOOLS);
  if ("problems" in read) throw new Error("not read");
  expect(read.skill).toMatchObject({
    name: "demo",
    description: "Does demonstrations.\nOf all kinds.\n",
    license: "Apache-2.0",
    compatibility: "Debian",
    version: "1.0.0",
    instructions: "# Do as shown\n\n---\nWith a line.",
    digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    capabilities: [{ name: "show" }],
  });
  expect([...read.skill.files.keys()]).toEqual(["SKILL.md", "capabilities.yaml", "scripts/x.py"]);
});

test("line ends of Windows, and no instructions, are no problem", async () => {
  expect(await introduced(INTRODUCTION.replaceAll("\n", "\r\n"))).toBe("");
  expect(await introduced("---\nname: demo\ndescription: d ❤️\n---")).toBe("");
});

test.each<[string, string | Buffer, RegExp]>([
  ["no front matter", "# Demo\n", /^SKILL\.md:1:1: has no front matter; fix: begin the file/],
  ["front matter without an end", "---\nname: demo\n", /^SKILL\.md:1:1: has no front matter/],
  ["front matter further down", `\n${INTRODUCTION}`, /^SKILL\.md:1:1: has no front matter/],
  ["an empty file", "", /^SKILL\.md:1:1: has no front matter/],
  ["an unknown key", INTRODUCTION.replace("\n---", "\nmodel: x\n---"), /^SKILL\.md:4:8: model: Unrecog.*fix: remove/],
  ["no description", "---\nname: demo\n---\n", /^SKILL\.md:2:1: description: /],
  [
    "an empty description",
    "---\nname: demo\ndescription: ''\n---\n",
    /^SKILL\.md:3:14: description: must not be empty/,
  ],
  [
    "a long description",
    `---\nname: demo\ndescription: ${"d".repeat(1025)}\n---\n`,
    /^SKILL\.md:3:14: description: Too big/,
  ],
  [
    "a long compatibility",
    `---\nname: demo\ndescription: d\ncompatibility: ${"d".repeat(501)}\n---\n`,
    /^SKILL\.md:4:16: compatibility: Too big/,
  ],
  [
    "another name than the folder's",
    INTRODUCTION.replace("demo", "other"),
    /^SKILL\.md:2:7: the skill is named `other`.*fix: give both/,
  ],
  [
    "metadata that is no text",
    "---\nname: demo\ndescription: d\nmetadata: { version: 1.0 }\n---\n",
    /^SKILL\.md:4:22: .*put it in quotes/,
  ],
  ["broken YAML", "---\nname: [\ndescription: d\n---\n", /^SKILL\.md:\d:\d+: /],
  ["a key that is there twice", "---\nname: demo\nname: demo\ndescription: d\n---\n", /^SKILL\.md:3:1: .*unique/],
  [
    "what nobody sees in it",
    "---\nname: demo\ndescription: d\n---\n\nDo\u{e0041} it.\n",
    /^SKILL\.md:6:1: holds characters that nobody sees/,
  ],
  [
    "text that reads another way",
    "---\nname: demo\ndescription: \u202ed\n---\n",
    /^SKILL\.md:3:1: holds characters that nobody sees/,
  ],
  ["what is no text", Buffer.from([0x2d, 0xff]), /^SKILL\.md: is not valid UTF-8/],
])("SKILL.md: %s", async (_, text, expected) => {
  expect(await introduced(text)).toMatch(expected);
});

test.each(["-demo", "demo-", "de--mo", "Demo", "de_mo", "dé", "a".repeat(65)])("no skill is named %s", async (name) => {
  expect(await problemsOf(goodSkill(name), name)).toMatch(/SKILL\.md:2:7: name: /);
});

test("what is missing is told", async () => {
  expect((await problemsOf({ "demo/x": "" })).split("\n")).toEqual([
    expect.stringMatching(/^SKILL\.md: is missing; fix:/),
    expect.stringMatching(/^capabilities\.yaml: is missing; fix:/),
  ]);
});

test("what is wrong with either file is told at once", async () => {
  const problems = await problemsOf({ "demo/SKILL.md": "", "demo/capabilities.yaml": "version: 1\n" });
  expect(problems).toMatch(/^SKILL\.md:1:1: /m);
  expect(problems).toMatch(/^capabilities\.yaml:1:10: /m);
});

test("a skill has no tool's name", async () => {
  expect(await problemsOf(goodSkill("exec"), "exec")).toMatch(/`exec` is the name of a tool; fix:/);
});

test("one bad skill hides no other, and of several of one name none is used", async () => {
  const one = folderOf({
    ...goodSkill("good"),
    ...goodSkill("twin"),
    "bad/SKILL.md": "",
    "README.md": "",
    ".git/x": "",
  });
  const two = folderOf({ ...goodSkill("also"), ...goodSkill("twin") });
  symlinkSync(join(two, "also"), join(one, "linked"));
  mkdirSync(join(two, "empty"));
  const { skills, refused } = await readSkills([one, two, `${one}/`, join(two, "nowhere")], TOOLS);
  expect(skills.map((it) => it.name)).toEqual(["also", "good"]);
  const told = refused.map(({ directory, problems }) => `${directory}: ${problems.map(problemText).join("; ")}`);
  expect(told).toHaveLength(6);
  for (const expected of [
    `${one}/bad: .*has no front matter`,
    `${one}/linked: .*is a link`,
    `${one}/twin: .*there is another skill \`twin\` in ${two}/twin`,
    `${two}/empty: SKILL.md: is missing.*capabilities.yaml: is missing`,
    `${two}/nowhere: .*cannot be read \\(ENOENT\\)`,
    `${two}/twin: .*there is another skill \`twin\` in ${one}/twin`,
  ]) {
    expect(told).toContainEqual(expect.stringMatching(new RegExp(`^${expected}`)));
  }
});

test("a directory into which anybody may put skills has none", async () => {
  const root = folderOf(goodSkill());
  chmodSync(root, 0o777);
  const { skills, refused } = await readSkills([root], TOOLS);
  expect(skills).toEqual([]);
  expect(refused.map((it) => it.problems[0]?.message)).toEqual(["anybody may put skills into it"]);
});

test("what is beside the folder changes nothing", async () => {
  const root = folderOf(goodSkill());
  const digest = async () => (await readSkills([root], TOOLS)).skills[0]?.digest;
  const before = await digest();
  writeFileSync(join(root, "x"), "");
  expect(await digest()).toBe(before);
});
