import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { ENTRY, policyWith, type TestData, testData } from "../support/gateway.ts";
import { findRegistry } from "../support/registries.ts";

/**
 * Every skill that ships does in a sandbox what its tests.yaml says first; what this computer's registries can't give is left out. Each test has a
 * sandbox of its own, and some install packages: where machines are emulated, all of them take half an hour (`glovebox skill test skills`).
 */
const SKILLS = new URL("../../skills", import.meta.url).pathname;
const [npm, pip] = await Promise.all([findRegistry("npm"), findRegistry("pip")]);
let data: TestData;

beforeAll(() => {
  data = testData();
});
afterAll(() => data?.[Symbol.dispose]());

interface Results {
  readonly problems: readonly unknown[];
  readonly skills: readonly {
    readonly name: string;
    readonly tests: readonly { readonly test: string; readonly outcome: string; readonly why?: string }[];
  }[];
}

test("what ships passes the first of its own tests, in a sandbox [G32]", { timeout: 1_800_000 }, async () => {
  const allow = [...(pip ? ['"pip:*"'] : []), ...(npm ? ['"npm:*"'] : [])];
  const packages = allow.length > 0 ? `packages:\n  allow: [${allow.join(", ")}]\n` : "";
  const policy = policyWith(data, `resources: {memoryMiB: 1536}\n${packages}`);
  const env = { ...process.env, GLOVEBOX_DATA_DIR: data.directory, XDG_CONFIG_HOME: data.directory, NO_COLOR: "1" };
  const folders = readdirSync(SKILLS, { withFileTypes: true }).filter((it) => it.isDirectory());
  const chosen = folders.flatMap(({ name }) => {
    const tests: readonly { readonly name: string }[] = parse(readFileSync(join(SKILLS, name, "tests.yaml"), "utf8"));
    return ["--only", String(tests[0]?.name)];
  });
  const args = [ENTRY, "skill", "test", SKILLS, ...chosen, "--policy", policy, "--json"];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const [printed, progress] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(printed, progress.slice(-4_000)).not.toBe("");
  const { problems, skills } = JSON.parse(printed) as Results;
  expect(problems).toEqual([]);
  const tests = skills.flatMap(({ name, tests }) => tests.map((it) => ({ skill: name, ...it })));
  expect(tests.filter((it) => it.outcome === "failed")).toEqual([]);
  for (const it of tests.filter((one) => one.outcome === "left-out"))
    console.log(`${it.skill}: ${it.test}: left out: ${it.why}`);
  const passing = new Set(tests.filter((it) => it.outcome === "passed").map((it) => it.skill));
  if (npm && pip) expect([...passing].toSorted()).toEqual(skills.map((it) => it.name).toSorted());
});
