import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { loadBundle } from "../../src/policy/load.ts";
import { readCollections } from "../../src/skill/collection.ts";
import { inputSchema } from "../../src/skill/parameters.ts";
import { argvOf } from "../../src/skill/template.ts";
import { openTools, TOOL_NAMES } from "../../src/tools.ts";
import { BUILTINS, chosen, expectShape } from "../support/skill-values.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const SKILLS = join(ROOT, "skills");
const [collection] = await readCollections([SKILLS], TOOL_NAMES);
const skills = (collection?.skills ?? []).map((it) => it.skill);
const capabilities = skills.flatMap((skill) =>
  skill.capabilities.map((it) => [`${skill.name}_${it.name}`, it] as const),
);

test("the skills that ship are valid, and what skills.lock has", () => {
  expect(collection).toMatchObject({ refused: [], missing: [], problems: [], isLocked: true });
  expect(collection?.skills.filter((it) => it.state !== "pinned")).toEqual([]);
  expect(skills.map((it) => it.name)).toEqual([
    "document-convert",
    "git-repo",
    "node-project",
    "python-data",
    "python-project",
    "slack-notify",
    "sqlite-query",
    "web-fetch",
  ]);
  for (const { name, files } of skills) expect([...files.keys()], name).toContain("tests.yaml");
});

test.each(capabilities)(
  "%s: whatever an agent gives, the arguments are those that were written down [G32]",
  (_, it) => {
    fc.assert(
      fc.property(fc.gen(), (data) => {
        const given = chosen(it.parameters, data);
        fc.pre(it.parameters.every(({ name, required }) => !required || name in given));
        const values = inputSchema(it.parameters).parse(given);
        for (const step of it.steps) {
          const argv = argvOf(step, values, BUILTINS);
          if (argv) expectShape(argv, step, values);
        }
      }),
      { numRuns: 60, endOnFailure: true },
    );
  },
);

test("capabilities-only permits every capability that ships, and forbids what runs by itself", async () => {
  const { language } = await openTools({ skillDirectories: [SKILLS] }, { mayPermit: () => true, mayUse: () => true });
  const bundle = await loadBundle(join(ROOT, "policies", "capabilities-only"), language);
  const permitting = [...bundle.policies.values()].filter((it) => it.effect === "permit");
  for (const [name] of capabilities)
    expect(
      permitting.some((it) => it.actions.has(name)),
      name,
    ).toBe(true);
  expect(bundle.tests.every((it) => it.passed)).toBe(true);
});
