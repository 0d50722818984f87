import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schemaToJson } from "@cedar-policy/cedar-wasm/nodejs";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { describeCall } from "../../src/call/describe.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { SCHEMA } from "../../src/policy/schema.ts";

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

interface Action {
  readonly appliesTo: {
    readonly resourceTypes: readonly string[];
    readonly context?: { readonly attributes?: Readonly<Record<string, { readonly required?: boolean }>> };
  };
}

test("the table of facts is the schema's", () => {
  const schema = schemaToJson(SCHEMA);
  if (schema.type === "failure") throw new Error(JSON.stringify(schema.errors));
  const actions = schema.json["Glovebox"]?.actions as Readonly<Record<string, Action>> | undefined;
  const expected = Object.entries(actions ?? {}).map(([name, { appliesTo }]) => {
    const facts = Object.entries(appliesTo.context?.attributes ?? {});
    const named = facts.map(([fact, { required }]) => (required === false ? `${fact} (optional)` : fact));
    return `${name}: ${appliesTo.resourceTypes.join().toLowerCase()}: ${named.toSorted().join()}`;
  });
  const rows = [...PAGE.matchAll(/^\| ((?:`\w+` ?)+) \| (session|path|host|session,package) \| (.*) ?\|$/gm)];
  const documented = rows.flatMap(([, tools = "", resource, facts = ""]) => {
    const named = [...facts.matchAll(/`(\w+)`( \(optional\))?/g)].map(([, fact, optional = ""]) => fact + optional);
    return tools.match(/\w+/g)?.map((tool) => `${tool}: ${resource}: ${named.toSorted().join()}`) ?? [];
  });
  expect(documented.toSorted()).toEqual(expected.toSorted());
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
