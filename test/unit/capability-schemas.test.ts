import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { CAPABILITIES, findCapability } from "../../src/capability/registry.ts";
import { jsonSchema } from "../../src/mcp/json-schema.ts";
import { CONNECT } from "../../src/policy/connect.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { SCHEMA, SKILLS } from "../../src/policy/schema.ts";

interface JsonSchema {
  readonly type?: string;
  readonly additionalProperties?: unknown;
  readonly properties?: Record<string, { readonly description?: string }>;
}

function jsonSchemas(name: string): { input: JsonSchema; output: JsonSchema } {
  const capability = findCapability(name);
  if (!capability) throw new Error(`no tool ${name}`);
  return {
    input: jsonSchema(capability.input, "input") as JsonSchema,
    output: jsonSchema(capability.output, "output") as JsonSchema,
  };
}

const NAMES = CAPABILITIES.map((it) => it.name);

test("every tool has a name of its own, in camel case, and an action in policy's schema", () => {
  expect(new Set(NAMES).size).toBe(NAMES.length);
  for (const name of NAMES) expect(name).toMatch(/^[a-z]+([A-Z][a-z]+)*$/);
  const actions = [...SCHEMA.matchAll(/action "(\w+)"/g)].map((it) => it[1]);
  // A call through runCapability is one of the tool that it names.
  expect(actions.toSorted()).toEqual([...NAMES, CONNECT, SKILLS, "findCapability", "useSkill"].toSorted());
});

test("docs/tools.md has a section for every tool, in their order", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "tools.md"), "utf8");
  const sections = [...page.matchAll(/^### `(\w+)`$/gm)].map((it) => it[1]);
  expect(sections).toEqual(NAMES);
});

describe.each(NAMES)("%s", (name) => {
  const { input, output } = jsonSchemas(name);

  test("is advertised as objects that take nothing unknown", () => {
    for (const schema of [input, output]) {
      expect(schema).toMatchObject({ type: "object", additionalProperties: false });
      expect(schema.properties).toBeDefined();
    }
  });

  test("says of every argument what it is for", () => {
    for (const [field, schema] of Object.entries(input.properties ?? {})) {
      expect([field, schema.description]).toEqual([field, expect.stringMatching(/\w/)]);
    }
  });

  test("has a schema that a validator accepts again", () => {
    for (const schema of [input, output]) expect(() => z.fromJSONSchema(schema as never)).not.toThrow();
  });
});

test("a tool that changes nothing says so, and only such a one", () => {
  const readOnly = CAPABILITIES.filter((it) => it.annotations.readOnly).map((it) => it.name);
  expect(readOnly).toEqual([
    "readProcess",
    "listProcesses",
    "readFile",
    "listDirectory",
    "searchFiles",
    "listSessions",
    "sessionStatus",
    "explainPolicy",
  ]);
  for (const { annotations } of CAPABILITIES) {
    expect(annotations.openWorld).toBe(false);
    if (annotations.readOnly) expect(annotations.destructive).toBe(false);
  }
});

test("the list of tools stays small: every conversation pays for it", () => {
  const charsWith = (mounts: object[]) => {
    const profile = profileSchema.parse({ mounts });
    const offered = CAPABILITIES.filter((it) => it.offered?.(profile) ?? true);
    const listed = offered.map(({ name, description, annotations }) => ({
      name,
      description,
      annotations,
      ...jsonSchemas(name),
    }));
    return JSON.stringify(listed).length;
  };
  expect(charsWith([])).toBeLessThan(37_500);
  expect(charsWith([{ name: "app", host: "/srv/app", mode: "rw" }])).toBeLessThan(42_000);
});
