import { expect, test } from "vitest";
import { parse } from "yaml";
import { problemText } from "../../src/policy/bundle.ts";
import { readDefinition } from "../../src/skill/definition.ts";
import { definitionOf } from "../support/skill.ts";

const FILES = new Map([
  ["scripts/plot.py", { content: Buffer.from(""), executable: false }],
  ["scripts/run", { content: Buffer.from(""), executable: true }],
]);

const read = (text: string, skill = "demo") => readDefinition(text, { skill, files: FILES });

function problemsOf(text: string, skill?: string): string {
  const result = read(text, skill);
  return "problems" in result ? result.problems.map(problemText).join("\n") : "";
}

const PROPERTIES = {
  text: { type: "string", maxLength: 100, description: "Text." },
  word: { type: "string", maxLength: 100, pattern: "[A-Za-z0-9][A-Za-z0-9-]*", description: "A word." },
  title: { type: "string", maxLength: 100, description: "A title." },
  path: { type: "string", format: "path", description: "A file." },
  host: { type: "string", format: "host", description: "A host." },
  url: { type: "string", format: "url", description: "A URL." },
  kind: { type: "string", enum: ["line", "bar"], default: "line", description: "What kind." },
  flag: { type: "string", enum: ["-a", "b"], default: "b", description: "Which." },
  top: { type: "integer", minimum: 1, maximum: 9, default: 5, description: "How many." },
  below: { type: "integer", minimum: -9, maximum: 9, default: 5, description: "How many." },
  log: { type: "boolean", default: false, description: "Whether." },
  y: { type: "array", items: { type: "string", maxLength: 20 }, maxItems: 3, description: "Which." },
} as const;
type Name = keyof typeof PROPERTIES;

/** A definition of one capability with those parameters that its steps name, all of them required but those with a default and `title`. */
function withSteps(steps: readonly object[], more: object = {}): string {
  const text = JSON.stringify([steps, more]);
  const names = (Object.keys(PROPERTIES) as Name[]).filter((it) => new RegExp(`\\b${it}\\b`).test(text));
  const required = names.filter((it) => !("default" in PROPERTIES[it]) && it !== "title");
  const properties = Object.fromEntries(names.map((it) => [it, PROPERTIES[it]]));
  return definitionOf({ parameters: { type: "object", required, properties }, steps, ...more });
}
const argv = (...args: readonly unknown[]) => withSteps([{ argv: args }]);

const WHOLE = `version: 1.2.3
needs:
  programs: [python3]
  packages: [pip:polars@1.35.2, npm:left-pad]
  hosts: [slack.com, "api.example.org:8443"]
  hostsOf: [url]
  secrets: [SLACK_BOT_TOKEN]
  memoryMiB: 1024
capabilities:
  - name: plotChart
    title: Plot a chart
    description: Draws a chart.
    examples: [plot sales, draw a chart, show a histogram ⚠️]
    openWorld: true
    timeoutMs: 5000
    needs: { programs: [python3, git], memoryMiB: 512 }
    parameters:
      type: object
      required: [path, y, url]
      properties:
        path: { type: string, format: path, description: CSV file. }
        kind: { type: string, enum: [line, bar], default: line, description: Kind. }
        y: { type: array, items: { type: string, maxLength: 200 }, maxItems: 20, description: Columns. }
        top: { type: integer, minimum: 1, maximum: 1000, default: 50, description: How many. }
        log: { type: boolean, default: false, description: Logarithmic. }
        title: { type: string, maxLength: 80, pattern: '[^-].*', description: Title. }
        url: { type: string, format: url, description: Where from. }
    steps:
      - argv:
          - python3
          - "{skill}/scripts/plot.py"
          - "--file={path}"
          - "--y={y}"
          - "{kind}"
          - { arg: "--log", when: log }
          - { arg: "--title={title}", when: title }
          - "-n{top}"
          - "{url}"
          - "{{literal}"
        cwd: "{path}"
        success: [0, 1]
      - argv: ["{skill}/scripts/run", --, "{title}"]
        stdin: "{title}\\n"
        when: title
    output: { kind: files, paths: ["{path}", "/workspace/{kind}-{top}.png"] }
`;

test("a whole definition is read", () => {
  const result = read(WHOLE);
  expect(problemsOf(WHOLE)).toBe("");
  if ("problems" in result) throw new Error("not read");
  const { version, capabilities } = result.definition;
  const [plot] = capabilities;
  expect(version).toBe("1.2.3");
  expect(plot).toMatchObject({
    name: "plotChart",
    readOnly: false,
    destructive: false,
    openWorld: true,
    timeoutMs: 5000,
    needs: {
      programs: ["python3", "git"],
      packages: [
        { ecosystem: "pip", name: "polars", version: "1.35.2" },
        { ecosystem: "npm", name: "left-pad" },
      ],
      hosts: ["slack.com", "api.example.org:8443"],
      hostsOf: ["url"],
      secrets: ["SLACK_BOT_TOKEN"],
      memoryMiB: 1024,
    },
    output: {
      kind: "files",
      paths: [
        [{ parameter: "path" }],
        [{ text: "/workspace/" }, { parameter: "kind" }, { text: "-" }, { parameter: "top" }, { text: ".png" }],
      ],
    },
  });
  expect(plot?.parameters.map(({ name, type, required }) => [name, type.kind, required])).toEqual([
    ["path", "path", true],
    ["kind", "enum", false],
    ["y", "strings", true],
    ["top", "integer", false],
    ["log", "boolean", false],
    ["title", "string", false],
    ["url", "url", true],
  ]);
  expect(plot?.steps).toMatchObject([
    { cwd: [{ parameter: "path" }], success: [0, 1] },
    { when: "title", success: [0] },
  ]);
  expect(plot?.steps[0]?.argv.slice(4, 7)).toEqual([
    { template: [{ parameter: "kind" }] },
    { template: [{ text: "--log" }], when: "log" },
    { template: [{ text: "--title=" }, { parameter: "title" }], when: "title" },
  ]);
  expect(plot?.steps[0]?.argv.at(-1)).toEqual({ template: [{ text: "{literal}" }] });
});

test("what is left out has its default", () => {
  const result = read(definitionOf({}));
  if ("problems" in result) throw new Error("not read");
  expect(result.definition.capabilities[0]).toMatchObject({
    parameters: [],
    timeoutMs: 120_000,
    output: { kind: "text" },
    needs: { programs: [], packages: [], hosts: [], hostsOf: [], secrets: [] },
  });
});

/** Each with its place. */
test.each<[string, string, string, string | RegExp]>([
  [
    "an unknown key",
    "openWorld: true",
    "openWordl: true",
    'capabilities.yaml:14:16: capabilities.0.openWordl: Unrecognized key: "openWordl"; fix: remove it, or correct its spelling',
  ],
  [
    "a key of JSON Schema that is not there",
    "format: path, ",
    "format: path, title: x, ",
    /^capabilities\.yaml:21:52: .*title/,
  ],
  [
    "a reference",
    "type: string, format: path",
    "$ref: '#/x', type: string, format: path",
    /^capabilities\.yaml:21:23: .*\$ref/,
  ],
  ["a format that is not there", "format: path", "format: date", /^capabilities\.yaml:21:39: .*format: /],
  [
    "text without a bound",
    "maxLength: 80, ",
    "",
    "capabilities.yaml:26:16: `title` has no `maxLength`; fix: text must have `maxLength`",
  ],
  [
    "a number without bounds",
    "minimum: 1, maximum: 1000, ",
    "",
    "capabilities.yaml:24:14: `top` has no `minimum` and `maximum`; fix: an integer must have `minimum` and `maximum`",
  ],
  [
    "a bound of another kind",
    "default: false, ",
    "default: false, maximum: 1, ",
    "capabilities.yaml:25:56: `maximum` means nothing for `log`, which is a boolean; fix: remove it",
  ],
  [
    "a default that is no value",
    "default: line",
    "default: pie",
    /^capabilities\.yaml:22:59: the default of `kind` is none of its values: .*; fix: correct one of them$/,
  ],
  ["a default out of bounds", "default: 50", "default: 5000", /^capabilities\.yaml:24:67: the default of `top`/],
  [
    "a default of what is required",
    "required: [path, y, url]",
    "required: [path, y, url, top]",
    "capabilities.yaml:19:32: `top` is required and has a default; fix: remove one of the two",
  ],
  [
    "a required name that is no parameter",
    "required: [path, ",
    "required: [path, zzz, ",
    "capabilities.yaml:19:24: `zzz` is no parameter; fix: correct it, or remove it",
  ],
  [
    "a value that an enum has twice",
    "enum: [line, bar]",
    "enum: [line, line]",
    "capabilities.yaml:22:44: `line` is there twice; fix: remove one of them",
  ],
  [
    "a pattern that is none",
    "'[^-].*'",
    "'[^-'",
    /^capabilities\.yaml:26:56: the pattern of `title` is no regular expression/,
  ],
  [
    "a pattern that takes for ever",
    "'[^-].*'",
    "'([a-z]+)*x'",
    /^capabilities\.yaml:26:56: the pattern of `title` repeats a group/,
  ],
  [
    "a parameter that is named like a builtin",
    "title: { type",
    "skill: { type",
    /capabilities\.yaml:26:16: the name `skill` is taken/,
  ],
  [
    "a parameter that every object has",
    "top: {",
    "constructor: {",
    /capabilities\.yaml:24:22: the name `constructor` is taken/,
  ],
  ["a parameter that is the prototype", "top: {", "__proto__: {", /has a key `__proto__`/],
  [
    "an unknown name in a template",
    "{{literal}",
    "{colour}",
    "capabilities.yaml:39:13: `{colour}` is no parameter; fix: there are `path`, `kind`, `y`, `top`, `log`, `title` and `url`",
  ],
  [
    "a brace without its other half",
    "{{literal}",
    "{literal",
    /^capabilities\.yaml:39:13: `\{literal` has a `\{` without its `\}`/,
  ],
  [
    "a brace around something else",
    "{{literal}",
    "{ path }",
    /^capabilities\.yaml:39:13: `\{ path \}` has a place `\{ path \}` that names no parameter/,
  ],
  [
    "a missing file of the skill",
    "scripts/plot.py",
    "scripts/polt.py",
    "capabilities.yaml:31:13: the skill has no `scripts/polt.py`; fix: correct the path, or add the file",
  ],
  [
    "a file that is not executable",
    "scripts/run",
    "scripts/plot.py",
    /^capabilities\.yaml:42:16: `scripts\/plot\.py` is not executable; fix: chmod/,
  ],
  [
    "what may not be given",
    '{ arg: "--title={title}", when: title }',
    "--title={title}",
    "capabilities.yaml:36:13: `title` may not be given; fix: write `{ arg: …, when: title }`, or make it required, or give it a default",
  ],
  [
    "what may not be given, under another's condition",
    "when: title }",
    "when: log }",
    /^capabilities\.yaml:36:13: `title` may not be given/,
  ],
  [
    "a condition that is no parameter",
    "when: log }",
    "when: logs }",
    /^capabilities\.yaml:35:13: `when` names `logs`, which is no parameter/,
  ],
  [
    "a condition that always holds",
    "when: log }",
    "when: top }",
    "capabilities.yaml:35:13: `when` names `top`, which is always given; fix: name a boolean or an optional parameter\ncapabilities.yaml:25:14: nothing is made of `log`; fix: use it in a step, or remove it",
  ],
  [
    "a directory that is no path",
    'cwd: "{path}"',
    'cwd: "{url}"',
    /^capabilities\.yaml:40:14: the working directory is no path/,
  ],
  [
    "a directory made of several",
    'cwd: "{path}"',
    'cwd: "{path}/x"',
    /^capabilities\.yaml:40:14: the working directory is no path/,
  ],
  [
    "a directory that is not absolute",
    'cwd: "{path}"',
    "cwd: src",
    /^capabilities\.yaml:40:14: the working directory is no path/,
  ],
  [
    "a directory that is not plain",
    'cwd: "{path}"',
    "cwd: /a/../b",
    /^capabilities\.yaml:40:14: the working directory is no path/,
  ],
  [
    "an output that text leads elsewhere",
    "{kind}-{top}.png",
    "{url}.png",
    /^capabilities\.yaml:45:46: the path of an output could lead elsewhere/,
  ],
  [
    "an output that is not absolute",
    '"/workspace/{kind}',
    '"{kind}',
    /^capabilities\.yaml:45:46: the path of an output could lead elsewhere/,
  ],
  [
    "an output that climbs",
    "/workspace/{kind}",
    "/workspace/../{kind}",
    /^capabilities\.yaml:45:46: the path of an output/,
  ],
  ["an output below a file's name", '["{path}"', '["{path}/../x"', /^capabilities\.yaml:45:36: the path of an output/],
  [
    "an output of what may not be given",
    '["{path}"',
    '["{title}"',
    /^capabilities\.yaml:45:36: `title` may not be given/,
  ],
  ["a version that is none", "1.2.3", "1.2", /^capabilities\.yaml:1:10: version: must be a semantic version in quotes/],
  ["too few examples", "draw a chart, ", "", /^capabilities\.yaml:13:15: capabilities\.0\.examples/],
  [
    "an example that nobody sees the whole of",
    "plot sales",
    '"plot\\u200b sales"',
    /^capabilities\.yaml:13:16: .*nobody sees/,
  ],
  [
    "a name that is none",
    "plotChart",
    "plot-chart",
    /^capabilities\.yaml:10:11: capabilities\.0\.name: must be a name in camelCase/,
  ],
  ["a timeout that is too long", "5000", "3600001", /^capabilities\.yaml:15:16: /],
  ["a shell's exit code", "[0, 1]", "[0, 256]", /^capabilities\.yaml:41:22: /],
  ["a package that is many", "npm:left-pad", "npm:*", /^capabilities\.yaml:4:33: .*is more than one package/],
  ["a scope of packages", "npm:left-pad", "'npm:@acme/*'", /^capabilities\.yaml:4:33: .*is more than one package/],
  ["a range of versions", "npm:left-pad", "npm:left-pad@^1", /^capabilities\.yaml:4:33: .*is no version/],
  ["a host that is none", "slack.com", "'*'", /^capabilities\.yaml:5:11: /],
  [
    "a host of no parameter",
    "hostsOf: [url]",
    "hostsOf: [uri]",
    "capabilities.yaml:6:13: `uri` is no parameter of format host or url; fix: name one of `url`",
  ],
  [
    "a host of another parameter",
    "hostsOf: [url]",
    "hostsOf: [path]",
    /^capabilities\.yaml:6:13: `path` is no parameter of format host or url/,
  ],
  ["an alias", "[0, 1]", "&a [0, 1]\n        when: *a", /aliases are not supported/],
])("%s", (_, written, instead, expected) => {
  expect(WHOLE).toContain(written);
  const problems = problemsOf(WHOLE.replace(written, () => instead));
  if (typeof expected === "string") expect(problems).toBe(expected);
  else expect(problems).toMatch(expected);
});

test("a capability that is there twice", () => {
  const [one] = (parse(definitionOf({})) as { capabilities: object[] }).capabilities;
  const text = JSON.stringify({ version: "1.0.0", capabilities: [one, one] });
  expect(problemsOf(text)).toMatch(/^capabilities\.yaml:1:\d+: there is a capability `show` already; fix: give it/);
});

test("a tool's name is at most 64 characters with the skill's", () => {
  expect(problemsOf(definitionOf({ name: "n".repeat(59) }))).toBe("");
  expect(problemsOf(definitionOf({ name: "n".repeat(60) }))).toMatch(/^capabilities\.yaml:3:11: the tool's name/);
});

test("what changes nothing does not destroy", () => {
  expect(problemsOf(definitionOf({ readOnly: true, destructive: true }))).toMatch(/destructive: cannot be both/);
});

test.each<[string, string]>([
  ["an option's value", argv("x", "--o={text}", "-n{top}", "-d{path}", "--{kind}", "-{log}")],
  [
    "what begins with another character",
    argv("x", "{path}", "{url}", "{host}", "{y}", "{top}", "{kind}", "{log}", "{word}"),
  ],
  ["what comes after --", argv("x", "-v", "--", "{text}", "{flag}", "{below}", "-{text}")],
  ["what comes after other text", argv("x", "a{text}", "{skill}/scripts/{text}", "{kind}{text}")],
  ["a first character by the pattern", withWord("(?!-).*")],
  ["a class by the pattern", withWord("^[^-]{1,}[a-z]*$")],
  ["an escape by the pattern", withWord("\\p{L}+-")],
])("no value becomes an option: %s", (_, text) => {
  expect(problemsOf(text)).toBe("");
});

function withWord(pattern: string, minLength = 1): string {
  const word = { ...PROPERTIES.word, pattern, minLength };
  return definitionOf({
    parameters: { type: "object", required: ["word"], properties: { word } },
    steps: [{ argv: ["x", "{word}"] }],
  });
}

test.each<[string, string, string]>([
  ["text", argv("x", "{text}"), "text"],
  ["text before other text", argv("x", "{text}.csv"), "text"],
  ["an enum with an option in it", argv("x", "{flag}"), "flag"],
  ["a number below 0", argv("x", "{below}"), "below"],
  ["text that may be empty, before a dash", withEmpty("{word}-rf"), "word"],
  ["text that may be empty, before text", withEmpty("{word}{text}"), "text"],
  ["text before --", argv("x", "{text}", "--"), "text"],
  ["text after -- that may be left out", argv("x", { arg: "--", when: "log" }, "{text}"), "text"],
  [
    "text after what is only like --",
    argv("x", "--", "y").replace('- "--"', '- "--{kind}"').replace("- y", '- "{text}"'),
    "",
  ],
  ["the name of an option", argv("x", "--{text}"), "text"],
  ["letters of options", argv("x", "-v{text}"), "text"],
  ["letters of options after others", argv("x", "-{kind}{text}"), "text"],
  ["several lists after a dash", argv("x", "-{y}"), "y"],
  ["a pattern with alternatives", withWord("a|-b"), "word"],
  ["a pattern with an optional first character", withWord("a?-b"), "word"],
  ["a pattern with none of a class", withWord("[a-z]{0,3}-b"), "word"],
  ["a pattern with a class with a dash", withWord("[+--]b"), "word"],
  ["a pattern with any character", withWord(".b"), "word"],
  ["a pattern with a negated class", withWord("[^a]b"), "word"],
  ["a pattern with a group", withWord("(?:-)b"), "word"],
  ["a pattern that looks further", withWord("(?!-x).*"), "word"],
  ["a pattern that looks for something else", withWord("(?=.).*"), "word"],
  ["a pattern with a boundary", withWord("\\b-?a"), "word"],
  ["a pattern with an escaped dash", withWord("\\x2da"), "word"],
])("a value could become an option: %s", (_, text, name) => {
  const problems = problemsOf(text);
  if (name === "") expect(problems).not.toBe("");
  else expect(problems).toContain(`a value of \`${name}\` could become an option of the program; fix: put a literal`);
});

function withEmpty(template: string): string {
  const { word, text } = { ...PROPERTIES, word: { ...PROPERTIES.word, pattern: "(?!-)[a-z]*" } };
  const properties = template.includes("text") ? { word, text } : { word };
  return definitionOf({
    parameters: { type: "object", required: Object.keys(properties), properties },
    steps: [{ argv: ["x", template] }],
  });
}

test.each<[string, string, RegExp]>([
  ["a program that the call names", argv("{kind}"), /the program is not literal/],
  ["a program of which a part is the call's", argv("/usr/bin/{kind}"), /the program is not literal/],
  ["a program beside the working directory", argv("./run"), /lies where it is not known to be/],
  ["a program outside the skill", argv("{skill}/../x"), /lies where it is not known to be/],
  ["an option in a program's place", argv("-c"), /the program is not literal/],
  ["a program that may be left out", argv({ arg: "x", when: "log" }, "y"), /the program may be left out/],
  ["a shell", argv("sh", "-c", "{text}"), /:\d+:\d+: `sh` is a shell/],
  ["a shell with literal code", argv("bash", "-c", "ls"), /`bash` is a shell/],
  ["a shell by its path", argv("/bin/bash", "--", "{text}"), /`bash` is a shell/],
  ["a shell of a version", argv("bash-5.2", "x"), /`bash-5\.2` is a shell/],
  ["a shell within env", argv("env", "A=b", "sh", "x"), /`sh` is a shell/],
  ["env with a variable of the call's", argv("env", "LD_PRELOAD={path}", "x"), /the program is not literal/],
  ["env with an option", argv("env", "-S", "sh -c x"), /the program is not literal/],
  ["env with nothing", argv("env", "A=b"), /`env` has no program/],
  ["what runs another program", argv("timeout", "5", "sh"), /`timeout` is a shell, or runs what its arguments name/],
  ["busybox", argv("busybox", "sh"), /`busybox` is a shell/],
  ["python's code", argv("python3", "-c", "{text}"), /a parameter would be a part of the program that `python3` runs/],
  ["python's code among other options", argv("python3", "-W", "ignore", "-Ic", "{path}"), /part of the program/],
  ["python's code in one argument", argv("python3.13", "-cprint({top})"), /part of the program/],
  ["python's module", argv("python3", "-m", "{word}"), /part of the program/],
  ["python's code after what may be left out", argv("python3", "-c", { arg: "-x", when: "log" }, "{path}"), /part of/],
  ["python's code by its path", argv("/usr/bin/python3", "-c", "{path}"), /part of the program/],
  ["python's code within env", argv("env", "A=b", "python3", "-c", "{path}"), /part of the program/],
  ["node's code", argv("node", "-e", "{path}"), /part of the program/],
  ["node's code in one argument", argv("node", "--eval={text}"), /part of the program/],
  ["node's code that is printed", argv("nodejs", "-pe", "{path}"), /part of the program/],
  ["perl's code", argv("perl", "-ne", "{word}"), /part of the program/],
  ["ruby's code", argv("ruby", "-e", "{word}"), /part of the program/],
  ["php's code", argv("php", "-r", "{word}"), /part of the program/],
  ["awk's program", argv("awk", "{word}", "/x"), /part of the program/],
  ["awk's program after --", argv("awk", "--", "{text}"), /part of the program/],
  ["sed's program", argv("sed", "-n", "s/{word}//e"), /part of the program/],
  ["sed's program as an option", argv("sed", "-e", "p", "-e", "{word}"), /part of the program/],
  ["find's programs", argv("find", "/x", "-exec", "{word}", ";"), /part of the program/],
  ["find's shell", argv("find", "/x", "-execdir", "sh", "-c", "{word}", ";"), /`sh` is a shell/],
  ["git's configuration", argv("git", "-c", "{word}", "status"), /part of the program/],
  ["git's helper", argv("git", "clone", "--upload-pack={text}", "/x"), /part of the program/],
  ["tar's helper", argv("tar", "--to-command={text}", "-xf", "/x"), /part of the program/],
])("no parameter is a program: %s", (_, text, expected) => {
  expect(problemsOf(text)).toMatch(expected);
});

test.each<[string, string]>([
  ["python3", withSteps([{ argv: ["python3"], stdin: "{text}" }])],
  ["python3 -", withSteps([{ argv: ["python3", "-u", "-", "x"], stdin: "a{text}" }])],
  ["node", withSteps([{ argv: ["node", "/dev/stdin"], stdin: "{text}" }])],
])("no parameter is a program: the standard input of %s", (_, text) => {
  expect(problemsOf(text)).toMatch(/^capabilities\.yaml:\d+:\d+: `\w+` would run its standard input/);
});

test.each<[string, string]>([
  ["a script of the skill's", argv("python3", "-I", "{skill}/scripts/plot.py", "-c", "{path}", "-m", "{word}")],
  ["literal code that gets values", argv("python3", "-c", "import sys; print(sys.argv)", "--", "{text}")],
  ["a literal module", argv("python3", "-m", "json.tool", "{path}")],
  ["literal code that reads values", withSteps([{ argv: ["python3", "-c", "x"], stdin: "{text}" }])],
  ["a script that reads values", withSteps([{ argv: ["node", "{skill}/scripts/plot.py"], stdin: "{text}" }])],
  ["awk with a literal program", argv("awk", "-F,", "{{print $1}", "{path}")],
  ["sed with a literal program", argv("sed", "-n", "-e", "1,5p", "{path}")],
  ["jq's filter", argv("jq", "--", "{text}", "{path}")],
  ["git's branch", argv("git", "-C", "{path}", "switch", "-c", "{word}")],
  ["find with a literal program", argv("find", "{path}", "-exec", "grep", "-l", "--", "{text}", "{{}", ";")],
  ["env", argv("env", "LANG=C", "GIT_TERMINAL_PROMPT=0", "git", "clone", "--", "{url}")],
])("values stay values: %s", (_, text) => {
  expect(problemsOf(text)).toBe("");
});
