import { expect, test } from "vitest";
import { reviewOf } from "../../src/skill/review.ts";
import type { Parameter, ParameterType, Skill, SkillCapability, Template } from "../../src/skill/skill.ts";

const literal = (text: string): Template => [{ text }];
const parameter = (name: string, type: ParameterType, description = "What it is."): Parameter => ({
  name,
  description,
  type,
  required: true,
});
const text: ParameterType = { kind: "string", minLength: 0, maxLength: 200 };

const CAPABILITY: SkillCapability = {
  name: "plot",
  title: "Plot a chart",
  description: "Draws a chart.",
  examples: ["plot sales"],
  readOnly: false,
  destructive: true,
  openWorld: false,
  parameters: [],
  steps: [{ argv: [{ template: literal("python3") }], success: [0] }],
  output: { kind: "text" },
  needs: { programs: [], packages: [], hosts: [], hostsOf: [], secrets: [] },
  timeoutMs: 120_000,
};

type Contents = Record<string, string | Buffer>;
const FILES: Contents = { "SKILL.md": "# Charts\n", "capabilities.yaml": "version: 1.0.0\n" };

function skillOf(files: Contents, capability: Partial<SkillCapability> = {}, more: Partial<Skill> = {}): Skill {
  const all = Object.entries({ ...FILES, ...files }).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    name: "charts",
    description: "Charts.",
    version: "1.0.0",
    instructions: "# Charts",
    digest: `sha256:${"1".repeat(64)}`,
    files: new Map(
      all.map(([path, content]) => [path, { content: Buffer.from(content), executable: path.endsWith(".sh") }]),
    ),
    capabilities: [{ ...CAPABILITY, ...capability }],
    ...more,
  };
}

const LOCKED = { name: "charts", version: "1.0.0", digest: `sha256:${"1".repeat(64)}` };

test("what runs is shown as it is written, braces and conditions included", () => {
  const { capabilities } = reviewOf(
    skillOf(
      {},
      {
        steps: [
          {
            argv: [
              { template: literal("python3") },
              { template: [{ builtin: "skill" }, { text: "/scripts/plot.py" }] },
              { template: [{ text: "--format={}=" }, { parameter: "title" }], when: "title" },
            ],
            stdin: [{ parameter: "data" }],
            cwd: [{ parameter: "directory" }],
            when: "clean",
            success: [0, 1],
          },
        ],
        output: { kind: "files", paths: [literal("/workspace/a"), [{ parameter: "path" }]] },
        needs: {
          programs: ["python3"],
          packages: [
            { ecosystem: "pip", name: "polars", version: "1.35.2" },
            { ecosystem: "npm", name: "left-pad" },
          ],
          hosts: ["slack.com"],
          hostsOf: ["url"],
          secrets: ["SLACK_BOT_TOKEN"],
        },
      },
    ),
  );
  expect(capabilities).toMatchObject([
    {
      tool: "charts_plot",
      destructive: true,
      steps: [
        {
          argv: [
            { text: "python3" },
            { text: "{skill}/scripts/plot.py" },
            { text: "--format={{}={title}", when: "title" },
          ],
          stdin: "{data}",
          cwd: "{directory}",
          when: "clean",
          success: [0, 1],
        },
      ],
      output: { kind: "files", paths: ["/workspace/a", "{path}"] },
      needs: { packages: ["pip:polars@1.35.2", "npm:left-pad"], hosts: ["slack.com"], secrets: ["SLACK_BOT_TOKEN"] },
    },
  ]);
});

test("a caller's text that becomes an argument is named, with what constrains it", () => {
  const argument = (name: string) => ({ template: [{ text: `--${name}=` }, { parameter: name }] });
  const { freeText } = reviewOf(
    skillOf(
      {},
      {
        parameters: [
          parameter("title", text),
          parameter("word", { ...text, pattern: "[a-z]+" }),
          parameter("columns", { kind: "strings", maxItems: 3, maxLength: 50 }),
          parameter("kind", { kind: "enum", values: ["line"] }),
          parameter("top", { kind: "integer", minimum: 1, maximum: 9 }),
          parameter("data", text),
        ],
        steps: [
          {
            argv: ["title", "word", "columns", "kind", "top"].map(argument),
            stdin: [{ parameter: "data" }],
            success: [0],
          },
          { argv: [argument("title")], success: [0] },
        ],
      },
    ),
  );
  expect(freeText).toEqual([
    { tool: "charts_plot", parameter: "title", maxLength: 200, arguments: ["--title={title}", "--title={title}"] },
    { tool: "charts_plot", parameter: "word", maxLength: 200, pattern: "[a-z]+", arguments: ["--word={word}"] },
    { tool: "charts_plot", parameter: "columns", maxLength: 50, arguments: ["--columns={columns}"] },
  ]);
});

test("files: how large, which may run, which nobody can read", () => {
  const { files } = reviewOf(
    skillOf({
      "scripts/a.sh": "#!/bin/sh\n",
      "assets/b.bin": Buffer.from([0x7f, 0, 1]),
      "assets/c.dat": Buffer.from([0xff]),
      "d.txt": "é",
    }),
  );
  expect(files.map(({ path, bytes, executable, binary }) => [path, bytes, executable, binary])).toEqual([
    ["SKILL.md", 9, false, false],
    ["assets/b.bin", 3, false, true],
    ["assets/c.dat", 1, false, true],
    ["capabilities.yaml", 15, false, false],
    ["d.txt", 2, false, false],
    ["scripts/a.sh", 10, true, false],
  ]);
});

test.each<[string, Contents, readonly string[]]>([
  ["by its path", { "capabilities.yaml": "- {skill}/scripts/a.py", "scripts/a.py": "" }, []],
  ["by its name", { "SKILL.md": "See [more](more.md).", "references/more.md": "" }, []],
  [
    "by what it is imported as",
    {
      "SKILL.md": "scripts/a.py",
      "scripts/a.py": "from .lib.b import x\nimport c",
      "scripts/lib/b.py": "",
      "scripts/c.py": "",
    },
    [],
  ],
  [
    "by a script that is named",
    {
      "SKILL.md": "`scripts/a.mjs`",
      "scripts/a.mjs": 'import "./b.js"; import "./c"',
      "scripts/b.js": "",
      "scripts/c.ts": "",
    },
    [],
  ],
  ["as a path without a dot", { "SKILL.md": "Run `bin/run`.", "bin/run": "" }, []],
  ["not by a word of a sentence", { "SKILL.md": "Then run it.", "bin/run": "" }, ["bin/run"]],
  ["not as the end of another name", { "SKILL.md": "See data.py and a.pyc.", "scripts/a.py": "" }, ["scripts/a.py"]],
  ["not by itself", { "scripts/a.py": "# a.py" }, ["scripts/a.py"]],
  ["not by each other", { "scripts/a.py": "import b", "scripts/b.py": "import a" }, ["scripts/a.py", "scripts/b.py"]],
  ["not by the tests alone", { "tests.yaml": "scripts/a.py", "scripts/a.py": "" }, ["scripts/a.py"]],
  ["not by what can't be read", { "SKILL.md": "a.bin", "a.bin": Buffer.from("\0b.txt"), "b.txt": "" }, ["b.txt"]],
  ["whatever is special in its name", { "SKILL.md": "axb.txt", "a.b.txt": "" }, ["a.b.txt"]],
])("a file is referred to %s", (_, contents, unreferred) => {
  const { files } = reviewOf(skillOf(contents));
  expect(files.filter((it) => !it.referred).map((it) => it.path)).toEqual(unreferred);
});

test.each<[string, string, readonly [string, string][]]>([
  ["a bidirectional override", "a\u202eb", [["U+202E", "1:2"]]],
  ["a character without a width", "a\nb\u200bc\u200b", [["U+200B", "2:2 2:4"]]],
  [
    "a tag, which spells ASCII unseen",
    "x \u{e0041}\u{e0042}",
    [
      ["U+E0041", "1:3"],
      ["U+E0042", "1:5"],
    ],
  ],
  ["a byte order mark", "\ufeff# Charts", [["U+FEFF", "1:1"]]],
  [
    "a variation selector that varies nothing",
    "a\ufe01\ufe0f",
    [
      ["U+FE01", "1:2"],
      ["U+FE0F", "1:3"],
    ],
  ],
  ["a space that is none", "a\u00a0b", [["U+00A0", "1:2"]]],
  ["a carriage return that hides a line", "harmless\rrm", [["U+000D", "1:9"]]],
  ["an escape sequence", "\u001b[8m", [["U+001B", "1:1"]]],
  ["Windows' line ends and tabs", "a\r\n\tb\r\n", []],
  ["emoji", "⚠️ 👩‍👩‍👧 🏳️‍🌈 1️⃣", []],
  ["letters of other scripts", "Größe, размер, 大きさ", []],
])("in a file: %s", (_, content, expected) => {
  for (const file of ["SKILL.md", "scripts/a.py"]) {
    const { hidden } = reviewOf(skillOf({ [file]: content }));
    const shown = hidden.map((it) => [
      it.codePoint,
      it.places.map(({ line, column }) => `${line}:${column}`).join(" "),
    ]);
    expect(shown).toEqual(expected);
    for (const it of hidden) expect(it.file).toBe(file);
  }
});

test("what stands in no file is found where it is said: an escape is a character", () => {
  const { hidden } = reviewOf(
    skillOf(
      { "capabilities.yaml": 'title: "a\\u202e"' },
      {
        title: "a\u202e",
        examples: ["plain", "plot\u200b"],
        parameters: [
          parameter("kind", { kind: "enum", values: ["a\u2066"] }, "Kind."),
          parameter("b", text, "\u{e0041}"),
        ],
        steps: [{ argv: [{ template: literal("x\u00ad") }], success: [0] }],
      },
      { description: "Charts\u2060." },
    ),
  );
  expect(hidden.map(({ file, field, codePoint }) => [file, field, codePoint])).toEqual([
    ["SKILL.md", "description", "U+2060"],
    ["capabilities.yaml", "plot.title", "U+202E"],
    ["capabilities.yaml", "plot.examples.1", "U+200B"],
    ["capabilities.yaml", "plot.parameters.kind", "U+2066"],
    ["capabilities.yaml", "plot.parameters.b", "U+E0041"],
    ["capabilities.yaml", "plot.steps.0", "U+00AD"],
  ]);
});

test("a file full of such characters is counted, its first places are named, and none of it takes long", () => {
  const { hidden, comments } = reviewOf(
    skillOf({ "SKILL.md": "\u200b".repeat(300_000), "references/a.md": "<!---->".repeat(140_000) }),
  );
  expect(hidden).toMatchObject([{ count: 300_000 }]);
  expect(hidden[0]?.places).toHaveLength(20);
  expect(comments).toHaveLength(100);
});

test("comments in Markdown, which a model reads and a rendered page does not show, also one without an end", () => {
  const { comments } = reviewOf(
    skillOf({ "SKILL.md": "# Charts\nA <!-- send\nall --> b\n<!-- the rest", "scripts/a.html": "<!-- no -->" }),
  );
  expect(comments).toEqual([
    { file: "SKILL.md", line: 2, column: 3, text: "send\nall" },
    { file: "SKILL.md", line: 4, column: 1, text: "the rest" },
  ]);
});

test("how it stands to what was locked", () => {
  const skill = skillOf({});
  expect(reviewOf(skill)).toMatchObject({ state: "unpinned" });
  expect(reviewOf(skill)).not.toHaveProperty("locked");
  expect(reviewOf(skill, LOCKED)).toMatchObject({ state: "pinned", locked: LOCKED });
  const before = { ...LOCKED, digest: `sha256:${"2".repeat(64)}` };
  expect(reviewOf(skill, before)).toMatchObject({ state: "changed", version: "1.0.0", locked: before });
});
