import { join } from "node:path";
import { expect, test } from "vitest";
import { findGroup } from "../../src/packages/sources/groups.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { loadBundle } from "../../src/policy/load.ts";
import type { Fact } from "../../src/policy/request.ts";
import { skillFact, toolName } from "../../src/skill/facts.ts";
import { factsOf, type Value, type Values, withinOf } from "../../src/skill/parameters.ts";
import type { Parameter } from "../../src/skill/skill.ts";
import { openTools } from "../../src/tools.ts";
import { PRINCIPAL } from "../support/capability-context.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const tools = await openTools(
  { skillDirectories: [join(ROOT, "skills")] },
  { mayPermit: () => true, mayUse: () => true },
);
const known = [...tools.shelf.skills.values()];
const bundle = await loadBundle(join(ROOT, "policies/capabilities-only"), { ...tools.language, findGroup });

/** A value of each kind that a policy about places lets through. */
function harmless({ type }: Parameter): Value {
  switch (type.kind) {
    case "path":
      return "/workspace/a";
    case "enum":
      return type.values[0] ?? "";
    case "integer":
      return type.minimum;
    case "boolean":
      return false;
    case "strings":
      return [];
    default:
      return "a";
  }
}

const calls = known.flatMap((it) =>
  it.skill.capabilities.map((capability) => ({
    action: toolName(it.skill, capability),
    paths: capability.parameters.filter(({ type }) => type.kind === "path").map(({ name }) => name),
    parameters: capability.parameters,
    known: { ...it, pinned: true },
    values: Object.fromEntries(capability.parameters.map((parameter) => [parameter.name, harmless(parameter)])),
  })),
);

function contextOf({ known, parameters }: Pick<(typeof calls)[number], "known" | "parameters">, values: Values) {
  const within = withinOf(parameters, values);
  return { skill: skillFact(known), ...(within !== undefined && { within }), ...factsOf(parameters, values) };
}

function decisionOn(action: string, context: Readonly<Record<string, Fact>>) {
  return evaluate(bundle, { principal: PRINCIPAL, action, resource: { type: "session", id: "default" }, context });
}

test("skills that Glovebox comes with are all there", () => {
  expect(tools.refused).toEqual([]);
  expect(known.length).toBeGreaterThan(0);
});

test("capabilities-only permits every capability in the workspace", () => {
  for (const { action, values, ...it } of calls)
    expect(decisionOn(action, contextOf(it, values)), action).toMatchObject({ outcome: "permit" });
});

test("capabilities-only lets no capability write, or read, a place from which programs take code", () => {
  for (const { action, values, paths, ...it } of calls) {
    for (const name of paths) {
      for (const path of [
        "/home/agent/.glovebox/skills/python-data/0/scripts/json.py",
        "/home/agent/.local/lib/python3.13/site-packages/usercustomize.py",
        "/home/agent/.gitconfig",
        "/proc/self/root/home/agent/.gitconfig",
        "/workspace-evil/a",
        "/tmp/a",
        "/",
      ]) {
        const { outcome, problems } = decisionOn(action, contextOf(it, { ...values, [name]: path }));
        expect({ action, name, path, outcome, problems }).toMatchObject({ outcome: "deny", problems: [] });
      }
    }
  }
});

test("capabilities-only lets no skill be used that is not pinned, and no program be run by itself", () => {
  for (const it of known) {
    const used = (pinned: boolean) => decisionOn("useSkill", { skill: skillFact({ ...it, pinned }) }).outcome;
    expect([used(true), used(false)]).toEqual(["permit", "deny"]);
  }
});
