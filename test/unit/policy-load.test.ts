import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { policySetTextToParts, policyToJson } from "@cedar-policy/cedar-wasm/nodejs";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { actionFinder } from "../../src/policy/policy-actions.ts";
import { statementsOf } from "../../src/policy/statements.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";

const GOOD = {
  "bundle.yaml": "name: good\nversion: 1.0.0\n",
  "rules.cedar": "permit (principal, action, resource is Glovebox::Session);\n",
};

function folder(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  return directory;
}

/** Forbids that would never forbid. */
const denyReading = (path: string) =>
  `@reason("r")\nforbid (principal, action == Glovebox::Action::"readFile", resource) when { resource in [${path}] };\n`;
const denyArgv = (prefix: string) =>
  `@reason("r")\nforbid (principal, action == Glovebox::Action::"exec", resource) when {\n  context.argvPrefixes.contains(${JSON.stringify(prefix)}) };\n`;

const load = (files: Record<string, string>) => loadBundle(folder(files), { describe: describeCall });

test("the digest changes with every file's name and content, and with nothing else", async () => {
  const digest = async (files: Record<string, string>) => (await load(files)).identity.digest;
  const base = await digest(GOOD);
  expect(await digest({ ...GOOD })).toBe(base);
  expect(await digest({ ...GOOD, "README.md": "words" })).toBe(base);
  const others = [
    { ...GOOD, "rules.cedar": `${GOOD["rules.cedar"]}\n` },
    { ...GOOD, "profile.yaml": "writableRoot: true\n" },
    { "bundle.yaml": GOOD["bundle.yaml"], "other.cedar": GOOD["rules.cedar"] },
  ];
  expect(new Set([base, ...(await Promise.all(others.map(digest)))]).size).toBe(4);
});

test.each<[string, Record<string, string>, RegExp]>([
  ["a missing manifest", { "rules.cedar": GOOD["rules.cedar"] }, /bundle\.yaml: is missing; fix:/],
  [
    "an unknown key",
    { ...GOOD, "profile.yaml": "resources:\n  memoryMiB: 1024\n  memroyMiB: 1\n" },
    /profile\.yaml:3:\d+: .*memroyMiB.*fix:/,
  ],
  [
    "a value out of range",
    { ...GOOD, "profile.yaml": "resources:\n  pids: 1\n" },
    /profile\.yaml:2:\d+: resources\.pids/,
  ],
  ["broken YAML", { ...GOOD, "profile.yaml": "resources: [\n" }, /profile\.yaml:\d+:\d+:/],
  [
    "a key given twice",
    { ...GOOD, "profile.yaml": "writableRoot: true\nwritableRoot: false\n" },
    /profile\.yaml:2:1: .*unique/,
  ],
  ["a YAML alias bomb", { ...GOOD, "profile.yaml": "image: &a x\nisolation: *a\n" }, /profile\.yaml/],
  [
    "broken Cedar",
    { ...GOOD, "rules.cedar": "\npermit (principal, action, resource is Glovebox::Session)\nwhen { };\n" },
    /rules\.cedar:3:\d+:/,
  ],
  [
    "an unknown action",
    { ...GOOD, "rules.cedar": '\n\npermit (principal, action == Glovebox::Action::"exce", resource);\n' },
    /rules\.cedar:3:\d+: .*exce.*fix: did you mean/,
  ],
  [
    "an unknown fact, after a character of several bytes",
    {
      ...GOOD,
      "rules.cedar":
        '// é\npermit (principal, action == Glovebox::Action::"exec", resource)\nwhen { context.argv9 == "x" };\n',
    },
    /rules\.cedar:3:8: .*argv9/,
  ],
  [
    "a policy that can never apply (a warning)",
    { ...GOOD, "rules.cedar": "permit (principal, action, resource is Glovebox::Session) when { false };\n" },
    /rules\.cedar:1:\d+: .*impossible/,
  ],
  [
    "an unknown annotation",
    { ...GOOD, "rules.cedar": '@priority("1") permit (principal, action, resource is Glovebox::Session);\n' },
    /rules\.cedar:1:1: .*@priority/,
  ],
  [
    "a forbid without a reason",
    { ...GOOD, "more.cedar": "forbid (principal, action, resource);\n" },
    /more\.cedar:1:1: .*reason.*fix:/,
  ],
  [
    "an id used twice",
    {
      ...GOOD,
      "rules.cedar":
        '@id("a") permit (principal, action, resource is Glovebox::Session);\n@id("a") permit (principal, action, resource is Glovebox::Session);\n',
    },
    /rules\.cedar:2:1: .*twice/,
  ],
  ["no policy", { "bundle.yaml": GOOD["bundle.yaml"] }, /\*\.cedar: there is no policy/],
  ["a misspelt file name", { ...GOOD, "profil.yaml": "" }, /profil\.yaml: does not belong.*fix:/],
  [
    "a failing test",
    { ...GOOD, "tests.yaml": "- name: must fail\n  tool: shell\n  arguments: { script: ls }\n  expect: deny\n" },
    /tests\.yaml:1:9: test "must fail" failed: expected deny, got permit/,
  ],
  [
    "a test of a tool that is not there",
    { ...GOOD, "tests.yaml": "- name: t\n  tool: nothing\n  expect: deny\n" },
    /no tool `nothing`/,
  ],
  [
    "a failing test whose name stands elsewhere too",
    {
      ...GOOD,
      "tests.yaml":
        "- name: exec\n  tool: exec\n  arguments: { argv: [a] }\n  expect: permit\n- name: exe\n  tool: shell\n  arguments: { script: ls }\n  expect: deny\n",
    },
    /tests\.yaml:5:9: test "exe" failed/,
  ],
  [
    "a test that other policies decide",
    { ...GOOD, "tests.yaml": '- name: t\n  tool: listSessions\n  expect: permit\n  policies: ["rules.cedar#x"]\n' },
    /tests\.yaml:1:9: .*expected rules\.cedar#x to decide, got rules\.cedar#0/,
  ],
  ["a name in upper case", { ...GOOD, "DENY.CEDAR": "" }, /DENY\.CEDAR: does not belong.*fix:/],
  ["a hidden file", { ...GOOD, ".more.cedar": "" }, /\.more\.cedar: does not belong.*fix:/],
  [
    "a file over 1 MiB",
    { ...GOOD, "big.cedar": `//${"x".repeat(1_048_576)}` },
    /big\.cedar: is larger than 1048576 bytes/,
  ],
  ["a version that is none", { ...GOOD, "bundle.yaml": "name: good\nversion: 1\n" }, /bundle\.yaml:2:10: version/],
  ["a key that is no string", { ...GOOD, "profile.yaml": "? [a]\n: 1\n" }, /profile\.yaml:1:3: .*strings/],
  ["a list where a map belongs", { ...GOOD, "profile.yaml": "- a\n" }, /profile\.yaml:1:1: Invalid input/],
  [
    "a template",
    { ...GOOD, "more.cedar": "\n\npermit (principal == ?principal, action, resource);\n" },
    /more\.cedar:3:\d+: .*template/,
  ],
  [
    "an id that is no name",
    { ...GOOD, "rules.cedar": '@id("a b") permit (principal, action, resource is Glovebox::Session);\n' },
    /rules\.cedar:1:1: the id is not a name; fix:/,
  ],
  [
    "a path that no request can have",
    { ...GOOD, "more.cedar": denyReading('Glovebox::Path::"/etc/"') },
    /more\.cedar:2:106: no path of a request is spelt "\/etc\/".*fix: write "\/etc"/,
  ],
  [
    "a relative path",
    { ...GOOD, "more.cedar": denyReading('Glovebox::Path::"etc"') },
    /more\.cedar:2:106: no path of a request is spelt "etc".*fix: write "\/etc"/,
  ],
  [
    "a prefix with a space in its JSON",
    { ...GOOD, "more.cedar": denyArgv('["git", "push"]') },
    /more\.cedar:3:33: no prefix of an argv is .*fix: write "\[\\"git\\",\\"push\\"\]"/,
  ],
  [
    "a prefix that is a command line",
    { ...GOOD, "more.cedar": denyArgv("git push") },
    /more\.cedar:3:33: no prefix of an argv is "git push".*fix: write "\[\\"git\\",\\"push\\"\]"/,
  ],
  [
    "a prefix of more arguments than are told",
    { ...GOOD, "more.cedar": denyArgv(JSON.stringify("abcdefghi".split(""))) },
    /more\.cedar:3:33: no prefix of an argv/,
  ],
])("%s is refused with its place", async (_, files, message) => {
  await expect(load(files)).rejects.toMatchObject({ code: "POLICY_INVALID", message: expect.stringMatching(message) });
});

test("links, folders, files that anybody may write and invalid UTF-8 are refused [G3]", async () => {
  const linked = folder(GOOD);
  symlinkSync("/etc/hostname", join(linked, "more.cedar"));
  const nested = folder(GOOD);
  mkdirSync(join(nested, "more.cedar"));
  const open = folder(GOOD);
  chmodSync(join(open, "rules.cedar"), 0o666);
  const openFolder = folder(GOOD);
  chmodSync(openFolder, 0o777);
  for (const directory of [linked, nested, open, openFolder]) {
    await expect(loadBundle(directory, { describe: describeCall })).rejects.toMatchObject({ code: "POLICY_INVALID" });
  }
  const binary = folder(GOOD);
  writeFileSync(join(binary, "rules.cedar"), Buffer.from([0xff, 0xfe]));
  await expect(loadBundle(binary, { describe: describeCall })).rejects.toMatchObject({
    code: "POLICY_INVALID",
    message: expect.stringContaining("rules.cedar: is not valid UTF-8"),
  });
  const pipe = folder(GOOD);
  execFileSync("/usr/bin/mkfifo", ["-m", "644", join(pipe, "more.cedar")]);
  await expect(loadBundle(pipe, { describe: describeCall })).rejects.toMatchObject({ code: "POLICY_INVALID" });
  await expect(loadBundle("/nonexistent", { describe: describeCall })).rejects.toMatchObject({
    code: "POLICY_UNREADABLE",
  });
});

test("a folder may be reached by a link, as deployments do", async () => {
  const directory = folder(GOOD);
  const link = join(folder({}), "current");
  symlinkSync(directory, link);
  const { identity } = await loadBundle(link, { describe: describeCall });
  expect(identity).toEqual((await loadBundle(directory, { describe: describeCall })).identity);
});

test("every problem of every file is named at once", async () => {
  const files = {
    "bundle.yaml": "name: Good\nversion: 1.0.0\nversoin: x\n",
    "profile.yaml": "resources: { pids: 1, vcpu: 2 }\n",
    "a.cedar": 'permit (principal, action == Glovebox::Action::"exce", resource);\n',
    "b.cedar": "permit (principal action, resource);\n",
    "c.cedar": "forbid (principal, action, resource);\n",
  };
  const error = await load(files).then(String, String);
  for (const place of [
    "bundle.yaml:1:7: name",
    "bundle.yaml:3:10: versoin",
    "profile.yaml:1:20: resources.pids",
    "profile.yaml:1:29: resources.vcpu",
    "a.cedar:1:",
    "b.cedar:1:19",
    "c.cedar:1:1",
  ]) {
    expect(error).toContain(`\n  ${place}`);
  }
});

test("a policy is found where it stands, also when its text stands elsewhere as well", async () => {
  const permit = "permit (principal, action, resource is Glovebox::Session);";
  const bundle = await load({
    ...GOOD,
    "rules.cedar": `// ${permit}\n@id("a") ${permit}\n\n  ${permit} // ;\n@id("semicolon") @reason("a; b")\nforbid (principal, action, resource) when { principal.client == ";\\";" };\n${permit}`,
  });
  const places = [...bundle.policies.values()].map(({ id, line }) => `${id}:${line}`);
  expect(places).toEqual(["rules.cedar#a:2", "rules.cedar#1:4", "rules.cedar#semicolon:5", "rules.cedar#3:7"]);
});

test("whatever layout its policies have, a file is read as Cedar reads it", () => {
  const pieces = fc.constantFrom(
    "permit (principal, action, resource is Glovebox::Session);",
    '@id("x;") @reason("\\"; //") forbid (principal, action, resource);',
    'permit (principal, action, resource is Glovebox::Session) when { principal.client like "*;\\"" };',
  );
  const gaps = fc.constantFrom("", " ", "\n", "\r\n\t", "// a; b\n", '// "\n', "//\n//;\n");
  fc.assert(
    fc.property(fc.array(fc.tuple(gaps, pieces), { maxLength: 6 }), gaps, (parts, end) => {
      const text = parts.flat().join("") + end;
      const answer = policySetTextToParts(text);
      if (answer.type === "failure") throw new Error(text);
      const statements = statementsOf(text);
      expect(statements.map((it) => it.text).toSorted()).toEqual(answer.policies.toSorted());
      for (const { text: statement, offset } of statements) expect(text.startsWith(statement, offset)).toBe(true);
    }),
  );
});

test("a bundle's tests may say who asks, and with what client", async () => {
  const files = {
    ...GOOD,
    "rules.cedar":
      'permit (principal == Glovebox::Principal::"local:ada", action, resource is Glovebox::Session) when { principal.client == "editor" };\n',
    "tests.yaml": `- { name: ada, tool: listSessions, principal: "local:ada", client: { name: editor }, expect: permit }
- { name: eve, tool: listSessions, principal: "local:eve", client: { name: editor }, expect: deny }
- { name: another client, tool: listSessions, principal: "local:ada", expect: deny }
`,
  };
  const { tests } = await load(files);
  expect(tests).toEqual(["ada", "eve", "another client"].map((name) => ({ name, passed: true })));
});

test.each<[string, string, RegExp]>([
  ["a relative folder", "- { name: a, host: src }", /2:22: mounts\.0\.host: must be absolute/],
  ["a home directory", "- { name: a, host: /home/ada }", /2:22: mounts\.0\.host: is too much/],
  ["one's own home", "- { name: a, host: ~/ }", /2:22: mounts\.0\.host: is too much/],
  ["everything", "- { name: a, host: // }", /2:22: mounts\.0\.host: is too much/],
  ["the system's", "- { name: a, host: /etc/ }", /2:22: mounts\.0\.host: is too much/],
  ["a climbing path", "- { name: a, host: /srv/../etc }", /2:22: mounts\.0\.host: must not contain/],
  ["an unknown key", "- { name: a, host: /srv/a, modes: rw }", /2:37: mounts\.0\.modes: Unrecognized/],
  ["a name that is none", "- { name: A/b, host: /srv/a }", /2:13: mounts\.0\.name: must be/],
  [
    "a pattern that means the opposite",
    "- { name: a, host: /srv/a, exclude: ['!x'] }",
    /mounts\.0\.exclude\.0: must not begin/,
  ],
  [
    "two of a name",
    "- { name: a, host: /srv/a }\n  - { name: a, host: /srv/b }",
    /3:\d+: mounts\.1\.name: another mount/,
  ],
])("a mount of %s is refused with its place", async (_name, mounts, problem) => {
  const directory = folder({ ...GOOD, "profile.yaml": `mounts:\n  ${mounts}\n` });
  await expect(loadBundle(directory, { describe: describeCall })).rejects.toThrow(problem);
});

test("policy can name a mount and a place in it", async () => {
  const files = {
    "bundle.yaml": GOOD["bundle.yaml"],
    "files.cedar": `@id("documentation") permit (principal, action == Glovebox::Action::"importFiles", resource in Glovebox::Path::"/workspace")
when { context.mount == "app" && context.mountPath in Glovebox::MountPath::"/docs" };`,
    "tests.yaml": `
- { name: in, tool: importFiles, arguments: { mount: app, path: docs/a }, expect: permit }
- { name: climbing in, tool: importFiles, arguments: { mount: app, path: src/../docs }, expect: permit }
- { name: beside, tool: importFiles, arguments: { mount: app, path: docs-old }, expect: deny }
- { name: climbing out, tool: importFiles, arguments: { mount: app, path: docs/../src }, expect: deny }
- { name: another, tool: importFiles, arguments: { mount: other, path: docs }, expect: deny }
`,
  };
  expect((await load(files)).tests.every((it) => it.passed)).toBe(true);
  const dead = { ...files, "files.cedar": files["files.cedar"].replace('"/docs"', '"docs"') };
  await expect(load(dead)).rejects.toThrow(/files\.cedar:2:\d+: no path of a request is spelt "docs"/);
});

test("what a policy applies to is found out once for a kind of policies, and is the same as if each was asked about", () => {
  const findActions = actionFinder(OWN_VOCABULARY);
  const both = (text: string) => {
    const read = policyToJson(text);
    if (read.type === "failure") throw new Error(read.errors.map((it) => it.message).join("; "));
    const alone = actionFinder(OWN_VOCABULARY)(text, read.json);
    expect(findActions(text, read.json), text).toEqual(alone);
    return "problem" in alone ? alone.problem : [...alone].sort();
  };
  const of = (head: string, when = "true") => both(`permit (principal, ${head}) when { ${when} };`);
  const connect = 'action == Glovebox::Action::"connect", resource';
  for (const host of ["a.org", "b.org"]) expect(of(`${connect} == Glovebox::Host::"${host}"`)).toEqual(["connect"]);
  expect(of('action, resource == Glovebox::Path::"/a"')).toContain("readFile");
  expect(of('action, resource == Glovebox::Session::"/a"')).not.toContain("readFile");
  expect(of("action, resource", 'context has argv0 && context.argv0 == "a"')).toEqual(["exec"]);
  expect(of("action, resource", 'context has argv0 && context.argv0 == "b"')).toEqual(["exec"]);
  expect(of("action, resource", 'context has script && context.argv0 == "b"')).toEqual([]);
  const address = (text: string) => of(connect, `context has address && context.address.isInRange(ip("${text}"))`);
  expect(address("10.0.0.0/8")).toEqual(["connect"]);
  expect(address("10.1.0.0/16")).toEqual(["connect"]);
});
