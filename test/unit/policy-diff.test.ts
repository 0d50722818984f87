import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { grantsOf } from "../../src/egress/gate.ts";
import { alone } from "../../src/policy/decide.ts";
import { diffBundles, isSame } from "../../src/policy/diff/bundles.ts";
import { diffPolicies } from "../../src/policy/diff/policies.ts";
import { diffProfiles } from "../../src/policy/diff/profile.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { profileSchema } from "../../src/policy/profile.ts";

const DEFAULT = join(import.meta.dirname, "..", "..", "policies", "default");

const unchanged = loadBundle(DEFAULT, { describe: describeCall });

/** The default bundle after a change of one of its files. */
async function changed(file: string, change: (text: string) => string) {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-diff-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(DEFAULT, directory, { recursive: true });
  const path = join(directory, file);
  writeFileSync(path, change(readFileSync(path, "utf8")));
  return diffBundles(await unchanged, await loadBundle(directory, { describe: describeCall }), (it) =>
    grantsOf(alone(it, "")),
  );
}

test("comments and layout are no difference, nor is a default that is written out", async () => {
  const cedar = await changed("sandbox.cedar", (it) => `// more\n${it.replaceAll(/\n {4}/g, " ")}`);
  expect(isSame(cedar)).toBe(true);
  expect(isSame(await changed("profile.yaml", (it) => `${it}\nwritableRoot: false\n`))).toBe(true);
});

test("what differs is named, in every part of a bundle", async () => {
  const cedar = await changed("sandbox.cedar", (it) =>
    it
      .replace('"doas", ', "")
      .replace('@reason("the sandbox has no root', '@mode("shadow")\n@reason("there is no root'),
  ).catch((error: unknown) => error);
  // Its own tests say no.
  expect(cedar).toMatchObject({ code: "POLICY_INVALID" });
  const profile = await changed("profile.yaml", (it) => it.replace("allow: []", "allow: [example.org]"));
  expect(profile).toMatchObject({
    bundle: [],
    policies: [],
    profile: [{ key: "egress.allow", from: [], effect: "wider" }],
    hosts: { added: ["example.org"], removed: [] },
  });
  const tests = await changed("tests.yaml", (it) =>
    it.replace("name: a program may be run", "name: a program runs").replace("ls | wc -l", "ls"),
  );
  expect(tests.tests).toEqual({
    added: ["a program runs"],
    removed: ["a program may be run"],
    changed: ["a shell script may be run"],
  });
  expect((await changed("bundle.yaml", (it) => it.replace("1.0.0", "1.1.0"))).bundle).toEqual([
    { key: "version", from: "1.0.0", to: "1.1.0" },
  ]);
});

test("policies are found again by what they mean, then by their id", () => {
  const forbid = (id: string, program: string, more = "") =>
    `@id("${id}") @reason("no")${more} forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "${program}" };`;
  const before = new Map([
    ["a.cedar#one", forbid("one", "one")],
    ["a.cedar#two", forbid("two", "two")],
    ["a.cedar#three", forbid("three", "three")],
    ["a.cedar#four", forbid("four", "four")],
    ["a.cedar#0", "permit (principal, action, resource);"],
  ]);
  const after = new Map([
    ["b.cedar#one", `// moved\n${forbid("one", "one")}`],
    ["a.cedar#two", forbid("two", "second")],
    ["a.cedar#three", forbid("three", "three", ' @outcome("ask")')],
    ["a.cedar#five", forbid("five", "five")],
    ["a.cedar#1", "permit (principal, action, resource);"],
  ]);
  expect(diffPolicies(before, after)).toMatchObject([
    { kind: "moved", id: "a.cedar#1", from: "a.cedar#0" },
    { kind: "added", id: "a.cedar#five" },
    { kind: "removed", id: "a.cedar#four" },
    { kind: "changed", id: "a.cedar#three", what: ["@outcome: (none) → ask"] },
    { kind: "changed", id: "a.cedar#two", what: ["conditions"] },
    { kind: "moved", id: "b.cedar#one", from: "a.cedar#one" },
  ]);
  expect(diffPolicies(before, before)).toEqual([]);
});

test("a profile's keys are narrower or wider where there is an order", () => {
  const packages = { allow: ["npm:*"], licenses: ["MIT"], minimumAgeHours: 72 };
  const cases: [object, object, string, "wider" | "narrower" | undefined][] = [
    [{}, { resources: { memoryMiB: 2048 } }, "resources.memoryMiB", "wider"],
    [{}, { timeouts: { maxExecMs: 1000 } }, "timeouts.maxExecMs", "narrower"],
    [{}, { timeouts: { yieldMs: 1000 } }, "timeouts.yieldMs", undefined],
    [{}, { isolation: { floor: "shared-kernel" } }, "isolation.floor", "wider"],
    [{ isolation: { floor: "userspace-kernel" } }, {}, "isolation.floor", "narrower"],
    [{}, { egress: { onExfiltration: "end-session" } }, "egress.onExfiltration", "narrower"],
    [{ egress: { allow: ["a.example.org"] } }, { egress: { allow: ["b.example.org"] } }, "egress.allow", undefined],
    [{}, { writableRoot: true }, "writableRoot", "wider"],
    [{ packages }, {}, "packages", "narrower"],
    [{ packages }, { packages: { ...packages, minimumAgeHours: 24 } }, "packages.minimumAgeHours.usual", "wider"],
    [{ packages }, { packages: { ...packages, deny: ["npm:x"] } }, "packages.deny", "narrower"],
    [{ packages }, { packages: { ...packages, licenses: ["MIT", "ISC"] } }, "packages.licenses", "wider"],
    [{ packages }, { packages: { allow: ["npm:*"] } }, "packages.licenses", "wider"],
    [
      { packages },
      { packages: { ...packages, maximumAdvisoryAgeHours: 24 } },
      "packages.maximumAdvisoryAgeHours",
      "narrower",
    ],
    [{}, { image: "other" }, "image", undefined],
  ];
  for (const [from, to, key, effect] of cases) {
    const [change, ...more] = diffProfiles(profileSchema.parse(from), profileSchema.parse(to));
    expect({ key: change?.key, effect: change?.effect, more }).toEqual({ key, effect, more: [] });
  }
});
