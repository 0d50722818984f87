import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { describeCall } from "../../src/call/describe.ts";
import type { LoadedBundle } from "../../src/policy/assemble.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { loadBundle } from "../../src/policy/load.ts";
import { SCHEMA } from "../../src/policy/schema.ts";
import { NO_USAGE } from "../../src/policy/usage.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const PAGE = readFileSync(join(ROOT, "docs", "policy-cookbook.md"), "utf8");
const BASE = join(ROOT, "policies", "default");
const PRINCIPAL = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };

interface Recipe {
  readonly name: string;
  readonly text: string;
  /** By the names of their files. */
  readonly blocks: ReadonlyMap<string, string>;
}

const RECIPES: readonly Recipe[] = PAGE.split(/^## /m)
  .slice(1)
  .map((text) => {
    const found = [...text.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)];
    return {
      name: text.split("\n", 1)[0] ?? "",
      text,
      blocks: new Map(found.map(([, file = "", block = ""]) => [file, block])),
    };
  });
const WITH_POLICIES = RECIPES.filter((it) => it.blocks.size > 0);

/** What `usage` of a test is about is counted by the gateway: it is decided here, with those amounts. */
const usageTest = z.looseObject({
  name: z.string(),
  tool: z.string(),
  arguments: z.record(z.string(), z.unknown()).default({}),
  expect: z.string(),
  usage: z.strictObject({
    principal: z.record(z.string(), z.number()).default({}),
    session: z.record(z.string(), z.number()).default({}),
    openSessions: z.number().default(0),
  }),
});
const testList = z.array(z.looseObject({ usage: z.unknown().optional() }));

/** The bundle that somebody has who follows the recipe. */
function written({ blocks }: Recipe): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-cookbook-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const all = [...blocks.values()].join("\n");
  // What the base's profile says in Cedar is about packages, and takes as long to validate as all the rest.
  const unneeded = ["tests.yaml", ...(/package/i.test(all) ? [] : ["profile.yaml"])];
  const base = blocks.has("bundle.yaml") ? [] : readdirSync(BASE).filter((it) => !unneeded.includes(it));
  for (const name of base) cpSync(join(BASE, name), join(directory, name));
  for (const [name, text] of blocks) {
    const plain =
      name === "tests.yaml" ? testList.parse(parse(text)).filter((it) => it.usage === undefined) : undefined;
    writeFileSync(join(directory, name), plain ? JSON.stringify(plain) : text, { mode: 0o644 });
  }
  return directory;
}

function decided(bundle: LoadedBundle, tool: string, args: object, usage = NO_USAGE) {
  const described = describeCall(tool, args, PRINCIPAL);
  if ("problem" in described) throw new Error(described.problem);
  return evaluate(bundle, { ...described.request, usage });
}

test("there are many, each says what it does not protect from and where it is enforced, and has tests", () => {
  expect(WITH_POLICIES.length).toBeGreaterThanOrEqual(20);
  expect(new Set(RECIPES.map((it) => it.name)).size).toBe(RECIPES.length);
  for (const { name, text, blocks } of WITH_POLICIES) {
    expect({ name, text }).toMatchObject({ name, text: expect.stringMatching(/^Enforced: /m) });
    const isTrial = [...blocks.values()].some((it) => it.includes('@mode("shadow")'));
    if (!isTrial) expect({ name, text }).toMatchObject({ name, text: expect.stringMatching(/Doesn't protect from: /) });
    expect({ name, files: [...blocks.keys()] }).toMatchObject({ files: expect.arrayContaining(["tests.yaml"]) });
    expect(testList.parse(parse(blocks.get("tests.yaml") ?? "")).length).toBeGreaterThan(0);
  }
});

describe("recipes", () => {
  for (const recipe of WITH_POLICIES) {
    test(recipe.name, async ({ skip }) => {
      const needsScripts = [...recipe.blocks.values()].some((it) => it.includes("context.opaque"));
      skip(needsScripts && !SCHEMA.includes("opaque"), "the schema has no facts of scripts yet");
      const bundle = await loadBundle(written(recipe), { describe: describeCall });
      expect(bundle.tests.filter((it) => !it.passed)).toEqual([]);
      const all = testList.parse(parse(recipe.blocks.get("tests.yaml") ?? ""));
      for (const it of all.filter(({ usage }) => usage !== undefined)) {
        const { name, tool, arguments: args, expect: outcome, usage } = usageTest.parse(it);
        const { principal, session, openSessions } = usage;
        const used = {
          ...NO_USAGE,
          principal: { ...NO_USAGE.principal, ...principal },
          session: { ...NO_USAGE.session, ...session },
          openSessions,
        };
        expect({ name, ...decided(bundle, tool, args, used) }).toMatchObject({ name, outcome });
      }
      if (bundle.policies.has("sizes.cedar#small-files")) {
        const outcome = (tool: string, args: object) => decided(bundle, tool, args).outcome;
        const [file, input, script] = [1_048_576, 65_536, 4_096].map((it) => "x".repeat(it));
        expect(outcome("writeFile", { path: "a", content: file })).toBe("permit");
        expect(outcome("writeFile", { path: "a", content: `${file}x` })).toBe("deny");
        expect(outcome("exec", { argv: ["a"], stdin: input })).toBe("permit");
        expect(outcome("exec", { argv: ["a"], stdin: `${input}x` })).toBe("deny");
        expect(outcome("shell", { script })).toBe("permit");
        expect(outcome("shell", { script: `${script}x` })).toBe("deny");
      }
      if (bundle.policies.has("trial.cedar#no-curl")) {
        const { shadow } = decided(bundle, "exec", { argv: ["curl"] });
        expect(shadow).toMatchObject([{ would: "deny", policies: [{ id: "trial.cedar#no-curl" }] }]);
      }
    });
  }
});
