import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";
import {
  auditRecords,
  ENTRY,
  machinePids,
  policyWith,
  processGone,
  type TestData,
  testData,
} from "../support/gateway.ts";
import { CAPABILITY, definitionOf, goodSkill } from "../support/skill.ts";

/** `glovebox skill test`, through the real program, in a real sandbox. */
const SHIPPED = join(import.meta.dirname, "..", "..", "skills");

let data: TestData;
let skills: string;
let policy: string;

beforeAll(() => {
  data = testData();
  skills = join(data.directory, "skills");
  policy = policyWith(data, "resources:\n  memoryMiB: 1024\n  diskMiB: 4096\npackages:\n  allow: ['pip:six']\n");
});
afterAll(() => data?.[Symbol.dispose]());

/** A skill in the folder `skills`, whose only capability prints a file. */
function addSkill(name: string, tests: object): void {
  const parameters = {
    type: "object",
    required: ["path"],
    properties: { path: { type: "string", format: "path", description: "A file." } },
  };
  const steps = [{ argv: ["cat", "{path}"] }];
  const files = { ...goodSkill(name), [`${name}/capabilities.yaml`]: definitionOf({ parameters, steps }) };
  for (const [path, text] of Object.entries({
    ...files,
    [`${name}/tests.yaml`]: stringify(tests, { aliasDuplicateObjects: false }),
  })) {
    const file = join(skills, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, text, { mode: 0o644 });
  }
}

interface Started {
  readonly child: ChildProcess;
  readonly printed: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

function start(...args: readonly string[]): Started {
  const env = { ...process.env, GLOVEBOX_DATA_DIR: data.directory, XDG_CONFIG_HOME: data.directory, NO_COLOR: "1" };
  const child = spawn(process.execPath, [ENTRY, "skill", "test", "--policy", policy, ...args], {
    env,
    cwd: data.directory,
  });
  const printed = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].on("data", (chunk) => {
      printed[stream] += String(chunk);
    });
  }
  const ended = once(child, "close").then(([code]) => code as number | null);
  return { child, printed, ended };
}

test("tests pass, fail and are left out, and no machine outlives them", async () => {
  const capability = CAPABILITY.name;
  const one = { capability, files: { "/workspace/a.txt": "from the file\n" }, arguments: { path: "a.txt" } };
  addSkill("printer", [
    { ...one, name: "what is there", expect: { contains: ["from the file\n"], files: ["/workspace/a.txt"] } },
    { ...one, name: "what is not there", expect: { contains: ["something else"] } },
    { name: "what another test left", capability, arguments: { path: "a.txt" }, expect: { exitCode: 1 } },
    { ...one, name: "what policy does not give", expect: {}, needs: ["pip:polars"] },
  ]);
  // The default policy lets reviewed skills be used only.
  execFileSync(process.execPath, [ENTRY, "skill", "lock", skills]);
  const { printed, ended } = start(join(SHIPPED, "sqlite-query"), "skills/printer", "--json");
  expect(await ended, printed.stderr).toBe(1);
  const { skills: results, problems, ...counts } = JSON.parse(printed.stdout);
  expect(problems).toEqual([]);
  const [ofPrinter, ofQuery] = ["printer", "sqlite-query"].map((name) =>
    results.find((it: { name: string }) => it.name === name),
  );
  expect(ofPrinter.tests).toMatchObject([
    { test: "what is there", outcome: "passed" },
    {
      test: "what is not there",
      outcome: "failed",
      differences: ['the answer does not contain "something else"'],
      answer: expect.stringContaining("from the file"),
    },
    { test: "what another test left", outcome: "passed" },
    { test: "what policy does not give", outcome: "left-out", why: expect.stringContaining("pip:polars") },
  ]);
  expect(ofQuery.tests.filter((it: { outcome: string }) => it.outcome !== "passed")).toEqual([]);
  expect(counts).toEqual({ passed: 2 + ofQuery.tests.length, failed: 1, leftOut: 1 });
  expect(printed.stderr).toMatch(/^printer: what is there$/m);
  expect(printed.stderr).toMatch(/preparing the sandbox/);
  expect(machinePids(data)).toEqual([]);
  const tools = auditRecords(data).flatMap((it) => (it.body.kind === "intent" ? [it.body.tool] : []));
  expect(tools).toContain("printer_show");
}, 400_000);

test("what a gateway refuses is refused, and nothing is begun for it", async () => {
  addSkill("changed", [{ name: "one", capability: CAPABILITY.name, expect: { error: "INVALID_ARGUMENTS" } }]);
  writeFileSync(
    join(skills, "skills.lock"),
    `format: 1\nskills:\n  - { name: changed, version: 1.0.0, digest: "sha256:${"0".repeat(64)}" }\n`,
  );
  const refused = start("skills/changed");
  expect(await refused.ended).toBe(1);
  expect(refused.printed.stdout).toMatch(
    /^skills\/changed\/SKILL\.md: the skill is not what skills\.lock has.*lock`$/m,
  );
  expect(refused.printed.stdout).toMatch(/^0 passed, 0 failed, 0 left out, 1 problem$/m);
  expect(refused.printed.stderr).toBe("");

  cpSync(join(skills, "changed"), join(skills, "broken"), { recursive: true });
  writeFileSync(join(skills, "broken", "tests.yaml"), "- name: one\n  capability: none\n  expect: {}\n");
  writeFileSync(join(skills, "broken", "SKILL.md"), goodSkill("broken")["broken/SKILL.md"] ?? "");
  const broken = start("skills/broken");
  expect(await broken.ended).toBe(1);
  expect(broken.printed.stdout).toMatch(/^skills\/broken\/tests\.yaml:2:15: the skill has no `none`/m);
});

test("what could not be answered exits with 2", async () => {
  for (const [args, message] of [
    [["none"], "`none` is not there"],
    [["policy"], "there is no skill"],
    [[join(SHIPPED, "slack-notify"), "--only", "no such test"], "none of these skills has a test `no such test`"],
    [[join(SHIPPED, "slack-notify"), "--policy", "none"], "POLICY_UNREADABLE"],
  ] as const) {
    const { printed, ended } = start(...args);
    expect({ args, status: await ended, stderr: printed.stderr }).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(message),
    });
  }
});

test("what is asked to end ends its machines", async () => {
  symlinkSync(join(SHIPPED, "git-repo"), join(data.directory, "linked"));
  const { child, printed, ended } = start("linked");
  while (machinePids(data).length === 0 && child.exitCode === null) await setTimeout(100);
  child.kill("SIGTERM");
  expect(await ended).toBe(2);
  expect(printed.stderr).toContain("SHUTTING_DOWN: the tests were stopped (SIGTERM)");
  for (const pid of machinePids(data)) await processGone(pid);
});
