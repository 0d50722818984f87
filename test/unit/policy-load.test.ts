import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { loadBundle } from "../../src/policy/load.ts";

const GOOD = {
  "bundle.yaml": "name: good\nversion: 1.0.0\n",
  "rules.cedar": "permit (principal, action, resource);\n",
};

function folder(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  return directory;
}

const load = (files: Record<string, string>) => loadBundle(folder(files), { describe: describeCall });

test.each(["default", "locked-down", "development"])(
  "the shipped bundle %s is valid and its tests pass",
  async (name) => {
    const directory = join(import.meta.dirname, "..", "..", "policies", name);
    const { identity, tests } = await loadBundle(directory, { describe: describeCall });
    expect(identity.name).toBe(name);
    expect(tests.length).toBeGreaterThanOrEqual(3);
    expect(tests.every((it) => it.passed)).toBe(true);
  },
);

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
    { ...GOOD, "rules.cedar": "\npermit (principal, action, resource)\nwhen { };\n" },
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
    { ...GOOD, "rules.cedar": "permit (principal, action, resource) when { false };\n" },
    /rules\.cedar:1:\d+: .*impossible/,
  ],
  [
    "an unknown annotation",
    { ...GOOD, "rules.cedar": '@mode("shadow") permit (principal, action, resource);\n' },
    /rules\.cedar:1:1: .*@mode/,
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
      "rules.cedar": '@id("a") permit (principal, action, resource);\n@id("a") permit (principal, action, resource);\n',
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
  await expect(loadBundle(binary, { describe: describeCall })).rejects.toMatchObject({ code: "POLICY_UNREADABLE" });
  await expect(loadBundle("/nonexistent", { describe: describeCall })).rejects.toMatchObject({
    code: "POLICY_UNREADABLE",
  });
});
