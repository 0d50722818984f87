import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { grantsOf } from "../../src/egress/gate.ts";
import { findGroup } from "../../src/packages/sources/groups.ts";
import { REGISTRY_TOOLS, registryUrls } from "../../src/packages/sources/registries.ts";
import { alone } from "../../src/policy/decide.ts";
import { loadBundle } from "../../src/policy/load.ts";

function bundle(profile: string): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const rules = 'permit (principal, action == Glovebox::Action::"exec", resource);\n';
  for (const [name, text] of Object.entries({
    "bundle.yaml": "name: g\nversion: 1.0.0\n",
    "rules.cedar": rules,
    "profile.yaml": profile,
  })) {
    writeFileSync(join(directory, name), text, { mode: 0o644 });
  }
  return directory;
}

const load = (profile: string, find = findGroup) =>
  loadBundle(bundle(profile), { describe: describeCall, findGroup: find });

test("a group stands for its lines, each a policy of its own, and what it means is part of the digest", async () => {
  const lines = ["a.example.org", "b.example.org:8443"];
  const profile = "egress:\n  allow: [example.com]\n  groups:\n    - some\n";
  const loaded = await load(profile, async () => lines);
  expect(grantsOf(alone(loaded, ""))).toEqual(["example.com", "a.example.org", "b.example.org"]);
  expect(loaded.policies.get("profile.yaml#egress.groups.some.2")).toMatchObject({ file: "profile.yaml", line: 4 });
  const other = await load(profile, async () => [...lines, "c.example.org"]);
  expect(other.identity.digest).not.toBe(loaded.identity.digest);
});

test("a group that is not there, is granted twice, or grants too much is refused", async () => {
  await expect(load("egress: {groups: [nonsense]}")).rejects.toThrow("there is no group `nonsense`");
  await expect(load("egress: {groups: [git-hosting, git-hosting]}")).rejects.toThrow("a group is named twice");
  await expect(load("egress: {groups: [wide]}", async () => ["*.com"])).rejects.toThrow("groups/wide.txt: `*.com`");
  await expect(load("egress: {groups: [nested]}", async () => ["group:x"])).rejects.toThrow("groups/nested.txt");
});

test("the groups that ship can be used", async () => {
  const git = await load("egress: {groups: [git-hosting]}");
  expect(grantsOf(alone(git, "")).length).toBeGreaterThan(5);
  const asked = await Promise.all(REGISTRY_TOOLS.map(registryUrls));
  const registries = await load("egress: {groups: [package-registries]}");
  const hosts = new Set(asked.flat().map((it) => new URL(it).hostname));
  expect(new Set(grantsOf(alone(registries, "")))).toEqual(hosts);
});
