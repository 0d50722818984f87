import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import type { EcosystemName } from "../../src/policy/ecosystems/ecosystem.ts";
import { namingOf, purlOf, samePurl } from "../../src/policy/ecosystems/naming.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { packageRequest } from "../../src/policy/package.ts";

/** What the lines of `profile.yaml` mean, as Cedar decides them. */
const PRINCIPAL = { id: "local:t", client: { name: "t", version: "1" }, transport: "stdio" as const };

async function bundleOf(packages: string, cedar = "") {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-packages-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const exec = 'permit (principal, action == Glovebox::Action::"exec", resource);\n';
  const files = {
    "bundle.yaml": "name: t\nversion: 1.0.0\n",
    "profile.yaml": `packages:\n${packages.replaceAll(/^/gm, "  ")}\n`,
    "t.cedar": exec + cedar,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  return await loadBundle(directory, { describe: describeCall });
}

async function decided(
  packages: string,
  ecosystem: EcosystemName,
  name: string,
  version: string,
  more = {},
  cedar = "",
) {
  const bundle = await bundleOf(packages, cedar);
  const naming = namingOf(ecosystem);
  const ranges = bundle.profile.packages?.pin.get(samePurl(naming, name)) ?? [];
  const facts = {
    purl: purlOf(naming, name, version),
    ecosystem,
    name,
    version,
    requested: false,
    ageHours: 1000,
    licenses: [],
    knownMalicious: false,
    knownVulnerable: false,
    advisories: [],
    hasInstallScript: false,
    buildsFromSource: false,
    yanked: false,
    verified: true,
    similarTo: [],
    withinPin: ranges.every((it) => naming.satisfies(version, it)),
    registry: "r.test:443",
    ...more,
  };
  const { outcome, policies, problems } = evaluate(bundle, packageRequest(PRINCIPAL, facts));
  expect(problems).toEqual([]);
  return outcome === "permit" ? "permit" : policies.map((it) => it.id.replace("profile.yaml#packages.", "")).join();
}

test.each([
  ["every package of an ecosystem", 'allow: ["npm:*"]', "npm", "left-pad", "1.0.0", "permit"],
  ["and of no other", 'allow: ["npm:*"]', "pip", "six", "1.0", ""],
  ["what a name stands below", 'allow: ["npm:@acme/*"]', "npm", "@acme/x", "1.0.0", "permit"],
  ["not what merely begins so", 'allow: ["npm:@acme/*"]', "npm", "@acme-evil/x", "1.0.0", ""],
  ["nor the same without a scope", 'allow: ["npm:@acme/*"]', "npm", "acme", "1.0.0", ""],
  ["go by path", 'allow: ["go:github.com/acme/*"]', "go", "github.com/acme/x", "v1.0.0", "permit"],
  ["not by the path's beginning", 'allow: ["go:github.com/acme/*"]', "go", "github.com/acmeevil/x", "v1.0.0", ""],
  ["maven by group", 'allow: ["maven:org.acme:*"]', "maven", "org.acme:x", "1", "permit"],
  ["not by a group that begins so", 'allow: ["maven:org.acme:*"]', "maven", "org.acme.evil:x", "1", ""],
  ["one version", 'allow: ["npm:x@1.0.0"]', "npm", "x", "1.0.0", "permit"],
  ["and no other", 'allow: ["npm:x@1.0.0"]', "npm", "x", "1.0.1", ""],
  ["a denied one", 'allow: ["npm:*"]\ndeny: ["npm:x"]', "npm", "x", "1.0.0", "deny.1"],
  ["a denied version", 'allow: ["pip:*"]\ndeny: ["pip:x@1.0"]', "pip", "x", "1.0", "deny.1"],
  ["in another spelling", 'allow: ["pip:*"]\ndeny: ["pip:x@1.0"]', "pip", "x", "1.0.0", "deny.1"],
  ["and in one more", 'allow: ["pip:*"]\ndeny: ["pip:x@1.0.0"]', "pip", "x", "1", "deny.1"],
  ["not a pre-release of it", 'allow: ["pip:*"]\ndeny: ["pip:x@1.0"]', "pip", "x", "1.0rc1", "permit"],
  [
    "a crate in its other spelling",
    'allow: ["cargo:*"]\ndeny: ["cargo:serde-json"]',
    "cargo",
    "serde_json",
    "1.0.0",
    "deny.1",
  ],
  ["and in upper case", 'allow: ["cargo:*"]\ndeny: ["cargo:inflector"]', "cargo", "Inflector", "1.0.0", "deny.1"],
  [
    "a pin in another spelling",
    'allow: ["cargo:*"]\npin: {"cargo:serde-json": "=1.0.0"}',
    "cargo",
    "serde_json",
    "1.0.1",
    "pin",
  ],
  ["within a pin", 'allow: ["npm:*"]\npin: {"npm:x": "^1.0.0"}', "npm", "x", "1.9.0", "permit"],
  ["outside of it", 'allow: ["npm:*"]\npin: {"npm:x": "^1.0.0"}', "npm", "x", "2.0.0", "pin"],
  ["within all of its pins", 'allow: ["npm:*"]\npin: {"npm:x": ["^1.0.0", "<1.5"]}', "npm", "x", "1.4.0", "permit"],
  ["outside of one of them", 'allow: ["npm:*"]\npin: {"npm:x": ["^1.0.0", "<1.5"]}', "npm", "x", "1.9.0", "pin"],
  [
    "pins in two spellings of a name",
    'allow: ["cargo:*"]\npin: {"cargo:serde-json": "=1.0.0", "cargo:serde_json": ">=1.0.0"}',
    "cargo",
    "serde_json",
    "1.0.1",
    "pin",
  ],
] as const)("%s", async (_, packages, ecosystem, name, version, expected) => {
  expect(await decided(packages, ecosystem, name, version)).toBe(expected);
});

test.each([
  ["too young", "", { ageHours: 71 }, "minimumAgeHours"],
  ["old enough", "", { ageHours: 72 }, "permit"],
  ["of unknown age", "", { ageHours: undefined }, "minimumAgeHours"],
  ["of unknown age, where that doesn't matter", "minimumAgeHours: 0", { ageHours: undefined }, "permit"],
  ["an age of its own for an ecosystem", "minimumAgeHours: {npm: 1, default: 1000}", { ageHours: 1 }, "permit"],
  ["and the usual one for others", "minimumAgeHours: {pip: 1, default: 1001}", {}, "minimumAgeHours"],
  ["malicious", "", { knownMalicious: true }, "malicious"],
  ["vulnerable", "vulnerable: deny", { knownVulnerable: true }, "vulnerable"],
  ["vulnerable, where that is allowed", "", { knownVulnerable: true }, "permit"],
  ["without a digest", "", { verified: false }, "unverified"],
  ["built from source", "buildsFromSource: deny", { buildsFromSource: true }, "buildsFromSource"],
  ["of a licence that is named", "licenses: [MIT, ISC]", { licenses: ["GPL-3.0-only", "MIT"] }, "permit"],
  ["of none that is", "licenses: [MIT]", { licenses: ["GPL-3.0-only"] }, "licenses"],
  ["of an unknown one", "licenses: [MIT]", {}, "licenses"],
  ["by advisories that are new", "maximumAdvisoryAgeHours: 5", { advisoriesAgeHours: 5 }, "permit"],
  ["by old ones", "maximumAdvisoryAgeHours: 5", { advisoriesAgeHours: 6 }, "maximumAdvisoryAgeHours"],
  ["by none", "maximumAdvisoryAgeHours: 5", {}, "maximumAdvisoryAgeHours"],
] as const)("%s", async (_, rule, more, expected) => {
  const facts = Object.fromEntries(Object.entries({ ageHours: 1000, ...more }).filter(([, it]) => it !== undefined));
  if (!("ageHours" in facts)) Object.assign(facts, { ageHours: undefined });
  expect(await decided(`allow: ["npm:*"]\n${rule}`, "npm", "x", "1.0.0", facts)).toBe(expected);
});
