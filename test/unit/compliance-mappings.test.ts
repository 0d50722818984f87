import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CHECK_IDS, CHECKS } from "../../src/compliance/checks.ts";
import { chosenFrameworks, loadFrameworks, readFramework } from "../../src/compliance/framework.ts";
import { scratch } from "../support/audit.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const MAPPINGS = join(ROOT, "compliance");
const all = await loadFrameworks(MAPPINGS, CHECK_IDS);

const GOOD = `format: 1
framework: A framework
version: "1"
source: https://framework.example/controls
retrieved: "2026-11-21"
controls:
  - id: A-1
    title: Logging
    evidence: [call-intents]
    covers: Calls are logged.
    notCovered: The rest.
  - id: A-2
    about: Something else.
    evidence: []
    notCovered: All of it.
`;

function problemsOf(text: string, file = "framework.yaml"): string[] {
  const read = readFramework(file, text, CHECK_IDS);
  return "problems" in read ? read.problems.map((it) => `${it.line}: ${it.message}`) : [];
}

test("every shipped mapping is valid, and says what of each control is not shown", () => {
  expect(all.map((it) => [it.id, it.controls.length])).toEqual([
    ["cis-docker-1.6", 36],
    ["iso-42001", 6],
    ["mitre-atlas", 8],
    ["nist-800-53", 15],
    ["nist-ai-rmf", 16],
    ["owasp-agentic-2026", 10],
    ["owasp-llm-2025", 10],
    ["owasp-llm-2026", 10],
    ["owasp-mcp-2025", 10],
  ]);
  const named = new Set(all.flatMap((it) => it.controls.flatMap((control) => control.evidence)));
  expect(CHECKS.map((it) => it.id).filter((it) => !named.has(it))).toEqual([]);
});

test("the whole of a list of ten is there, in order", () => {
  const ids = (id: string) => all.find((it) => it.id === id)?.controls.map((it) => it.id);
  const ten = (prefix: string) => Array.from({ length: 10 }, (_, at) => `${prefix}${String(at + 1).padStart(2, "0")}`);
  expect(ids("owasp-agentic-2026")).toEqual(ten("ASI"));
  expect(ids("owasp-llm-2025")).toEqual(ten("LLM"));
  expect(ids("owasp-llm-2026")).toEqual(ten("LLM"));
  expect(ids("owasp-mcp-2025")).toEqual(ten("MCP"));
});

test("a mapping that has not all of its framework says so in its note", () => {
  const partial = all.filter(({ note }) => /\ba selection\b.*; nothing is said of the others\./i.test(note ?? ""));
  expect(partial.map(({ id }) => id)).toEqual([
    "cis-docker-1.6",
    "iso-42001",
    "mitre-atlas",
    "nist-800-53",
    "nist-ai-rmf",
  ]);
});

test("where a framework's text may not be repeated, or has no titles, none is there", () => {
  for (const id of ["iso-42001", "nist-ai-rmf"]) {
    expect(all.find((it) => it.id === id)?.controls.filter((it) => it.title !== undefined)).toEqual([]);
  }
});

test("a mapping is read strictly, and what is wrong has its place", () => {
  expect(problemsOf(GOOD)).toEqual([]);
  expect(problemsOf(GOOD.replace("[call-intents]", "[call-intents, call-intent]"))).toEqual([
    "9: there is no check `call-intent`",
  ]);
  expect(problemsOf(GOOD.replace("[call-intents]", "[call-intents, call-intents]"))).toEqual([
    "9: `call-intents` is there already",
  ]);
  expect(problemsOf(GOOD.replace("A-2", "A-1"))).toEqual(["12: control A-1 is there already"]);
  expect(problemsOf(GOOD.replace("notCovered: The rest.", "notCovered: The rest.\n    notcovered: x"))).toEqual([
    expect.stringMatching(/^12: .*Unrecognized key: "notcovered"/),
  ]);
  expect(problemsOf(GOOD.replace("    covers: Calls are logged.\n", ""))).toEqual([
    expect.stringContaining("says what the evidence shows"),
  ]);
  expect(problemsOf(GOOD.replace("    about: Something else.\n", ""))).toEqual([
    expect.stringContaining("needs a title"),
  ]);
  expect(problemsOf(GOOD.replace("    notCovered: All of it.\n", ""))).toHaveLength(1);
  expect(problemsOf(GOOD.replace("https:", "javascript:"))).toHaveLength(1);
  expect(problemsOf(GOOD.replace("format: 1", "format: 2"))).toHaveLength(1);
  expect(problemsOf(GOOD, "Framework.yaml")).toHaveLength(1);
});

test("a folder with a mapping that is not valid is refused as a whole", async () => {
  const folder = join(scratch(), "compliance");
  mkdirSync(folder);
  writeFileSync(join(folder, "good.yaml"), GOOD);
  writeFileSync(join(folder, "bad.yaml"), GOOD.replace("call-intents", "nothing"));
  await expect(loadFrameworks(folder, CHECK_IDS)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringMatching(/^bad\.yaml:9:\d+: there is no check `nothing`$/),
  });
});

test("frameworks are chosen by id, each once, or all", () => {
  expect(chosenFrameworks(all, ["all"])).toBe(all);
  expect(chosenFrameworks(all, ["iso-42001", "iso-42001"]).map((it) => it.id)).toEqual(["iso-42001"]);
  expect(() => chosenFrameworks(all, ["iso-27001"])).toThrow(/no framework `iso-27001`; there are cis-docker-1\.6, /);
});

test("no mapping, no page and no line of code claims that a control is met", () => {
  const below = (folder: string) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((it) => /\.(ts|yaml|md)$/.test(it))
      .map((it) => join(folder, it));
  const files = [...below("compliance"), ...below("src/compliance"), "src/cli/compliance.ts", "docs/compliance.md"];
  const claims = files.filter((it) => /compliant|certified|conformant/i.test(readFileSync(join(ROOT, it), "utf8")));
  expect(claims).toEqual([]);
});
