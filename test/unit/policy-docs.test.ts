import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { schemaReference } from "../../scripts/schema-reference.ts";
import { describeCall } from "../../src/call/describe.ts";
import { budgetsSchema } from "../../src/policy/budget-schema.ts";
import { policyOf } from "../../src/policy/decide.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { nearestPermitted } from "../../src/policy/explain/nearest.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { USAGE_FACTS } from "../../src/policy/usage.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const PAGE = readFileSync(join(ROOT, "docs", "policy.md"), "utf8");

/** The indented block after a line that ends with `ending`. */
function blockAfter(ending: string, page = PAGE): string {
  const [, after = ""] = page.split(`${ending}\n\n`);
  const lines = after.split("\n");
  const end = lines.findIndex((it) => it !== "" && !it.startsWith("    "));
  return lines
    .slice(0, end)
    .map((it) => it.slice(4))
    .join("\n");
}

test("the reference of the schema is what the schema says: `npm run docs:schema` renews it", () => {
  expect(readFileSync(join(ROOT, "docs", "policy-schema.md"), "utf8")).toBe(schemaReference());
  expect(PAGE).toContain("](policy-schema.md)");
});

test("the profile that is shown is the one that is in force when nothing is said", () => {
  expect(parse(blockAfter("Every key may be left out; these are the values of those that are."))).toEqual(
    profileSchema.parse({}),
  );
});

test("the bundle that the page writes is valid, and decides as it says", async () => {
  const directory = join(mkdtempSync(join(tmpdir(), "glovebox-docs-")), "my-policy");
  onTestFinished(() => rmSync(join(directory, ".."), { recursive: true, force: true }));
  cpSync(join(ROOT, "policies", "locked-down"), directory, { recursive: true });
  appendFileSync(join(directory, "programs.cedar"), `\n${blockAfter("In `my-policy/programs.cedar`:")}`);
  appendFileSync(join(directory, "tests.yaml"), blockAfter("in `my-policy/tests.yaml`:"));
  const bundle = await loadBundle(directory, { describe: describeCall });
  expect(bundle.tests.slice(-2).map((it) => it.name)).toEqual(["the tests may be run", "npm may not install"]);
  const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
  const [asked = "{}"] = PAGE.match(/(?<=explain my-policy exec ')[^']+/) ?? [];
  const described = describeCall("exec", JSON.parse(asked), principal);
  if ("problem" in described) throw new Error(described.problem);
  expect(evaluate(bundle, described.request)).toMatchObject({ outcome: "deny", policies: [] });
});

test("the question that the page writes is one", async () => {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-docs-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(join(ROOT, "policies", "default"), directory, { recursive: true });
  writeFileSync(join(directory, "push.cedar"), blockAfter("## Annotations"));
  const bundle = await loadBundle(directory, { describe: describeCall });
  const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
  const described = describeCall("exec", { argv: ["git", "push"] }, principal);
  if ("problem" in described) throw new Error(described.problem);
  expect(evaluate(bundle, described.request)).toMatchObject({
    outcome: "ask",
    policies: [{ id: "push.cedar#push-asks" }],
    channels: ["terminal", "slack"],
  });
});

test("the bundle that the guide writes is valid, and answers as it says", async () => {
  const page = readFileSync(join(ROOT, "docs", "policy-guide.md"), "utf8");
  const directory = join(mkdtempSync(join(tmpdir(), "glovebox-docs-")), "my-policy");
  onTestFinished(() => rmSync(join(directory, ".."), { recursive: true, force: true }));
  cpSync(join(ROOT, "policies", "locked-down"), directory, { recursive: true });
  const blocks = [...page.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)];
  expect(blocks.map(([, file]) => file)).toEqual(["bundle.yaml", "node.cedar", "profile.yaml", "tests.yaml"]);
  for (const [, file = "", text = ""] of blocks) {
    const isAdded = file === "profile.yaml" || file === "tests.yaml";
    (isAdded ? appendFileSync : writeFileSync)(join(directory, file), text, { mode: 0o644 });
  }
  const bundle = await loadBundle(directory, { describe: describeCall });
  expect(bundle.identity).toMatchObject({ name: "acme", version: "1.0.0" });
  const [asked = "{}"] = page.match(/(?<=explain my-policy exec ')[^']+/) ?? [];
  const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
  const policy = policyOf([{ name: "user", bundle, origin: directory }], bundle.profile);
  const ports = { policy, describe: describeCall, decide: (it: PolicyRequest) => evaluate(bundle, it) };
  const nearest = nearestPermitted({ tool: "exec", args: JSON.parse(asked) }, principal, ports);
  expect(page).toContain(`\n    instead: ${nearest?.text}\n`);
  const { line } = bundle.policies.get("programs.cedar#ten-minutes") ?? {};
  expect(page).toContain(`forbid by programs.cedar#ten-minutes (programs.cedar:${line}): `);
});

test("what the page about packages writes is valid: profiles, and a policy", async () => {
  const page = readFileSync(join(ROOT, "docs", "packages.md"), "utf8");
  const directory = mkdtempSync(join(tmpdir(), "glovebox-docs-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(join(ROOT, "policies", "default"), directory, { recursive: true });
  writeFileSync(join(directory, "acme.cedar"), blockAfter("and in its ecosystem:", page));
  for (const ending of ["In the bundle's `profile.yaml`:", "Otherwise name them:"]) {
    writeFileSync(join(directory, "profile.yaml"), blockAfter(ending, page));
    const { profile, policies } = await loadBundle(directory, { describe: describeCall });
    expect(profile.packages?.allow).not.toEqual([]);
    expect(policies.get("acme.cedar#acme-only-from-acme")?.effect).toBe("forbid");
  }
});

test("what the page about budgets writes is valid, and its tests hold", async () => {
  const page = readFileSync(join(ROOT, "docs", "budgets.md"), "utf8");
  const directory = mkdtempSync(join(tmpdir(), "glovebox-docs-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(join(ROOT, "policies", "default"), directory, { recursive: true });
  const profile = blockAfter("In the bundle's `profile.yaml`:", page);
  writeFileSync(join(directory, "profile.yaml"), profile);
  writeFileSync(join(directory, "usage.cedar"), blockAfter("In a `.cedar` file of the bundle:", page));
  writeFileSync(join(directory, "tests.yaml"), blockAfter("In its `tests.yaml`:", page));
  const { tests, policies, profile: read } = await loadBundle(directory, { describe: describeCall });
  expect(tests).toHaveLength(4);
  expect(policies.get("usage.cedar#busy")).toMatchObject({ usage: ["principal.callsLastHour"], usageLimit: 200 });
  expect(policies.get("usage.cedar#no-uploads-after-downloads")?.usageLimit).toBe(104_857_600);
  // Every limit is shown, and every fact named.
  expect(Object.keys(read.budgets?.principal ?? {})).toEqual(Object.keys(budgetsSchema.shape.principal.unwrap().shape));
  for (const fact of USAGE_FACTS) expect(page).toContain(`\`${fact}\``);
  expect(page).toContain(policies.get("profile.yaml#budgets.principal.callsPerHour")?.reason);
});
