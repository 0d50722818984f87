import { utf8 } from "../lib/text.ts";
import type { Problem } from "../policy/bundle.ts";
import { readYaml } from "../policy/yaml.ts";
import { inputSchema } from "./parameters.ts";
import type { Skill, SkillCapability } from "./skill.ts";
import { collector, listed, type Tell } from "./tell.ts";
import { type SkillTest, testsSchema } from "./tests-schema.ts";

export const TESTS_FILE = "tests.yaml";

type Read = { readonly tests: readonly SkillTest[] } | { readonly problems: readonly Problem[] };

/** Reads a skill's tests.yaml, from the files that were read with it: all of it is right, or each thing that is wrong is told with its place. `undefined` when it has none. */
export function readTests({ files, capabilities }: Pick<Skill, "files" | "capabilities">): Read | undefined {
  const file = files.get(TESTS_FILE);
  if (!file) return undefined;
  const text = utf8(file.content);
  if (text === undefined) {
    return { problems: [{ file: TESTS_FILE, message: "is not valid UTF-8", fix: "save it as UTF-8" }] };
  }
  const read = readYaml(TESTS_FILE, text, testsSchema);
  if ("problems" in read) return read;
  const { tell, problems } = collector(TESTS_FILE, read.placeOf);
  const tests = read.value;
  const byName = new Map(capabilities.map((it) => [it.name, it]));
  const names = tests.map((it) => it.name);
  for (const [index, test] of tests.entries()) {
    if (names.indexOf(test.name) !== index) {
      tell([index, "name"], `there is a test \`${test.name}\` already`, "give it another name");
    }
    const capability = byName.get(test.capability);
    if (capability) checkTest(test, capability, index, tell);
    else
      tell([index, "capability"], `the skill has no \`${test.capability}\``, `there are ${listed([...byName.keys()])}`);
  }
  return problems.length > 0 ? { problems } : { tests };
}

function checkTest(test: SkillTest, capability: SkillCapability, index: number, tell: Tell): void {
  checkArguments(test, capability, index, tell);
  const { kind } = capability.output;
  for (const [key, wanted] of [
    ["json", "json"],
    ["image", "image"],
  ] as const) {
    if (!test.expect[key] || kind === wanted) continue;
    tell([index, "expect", key], `\`${capability.name}\` gives ${kind}, not ${wanted}`, "expect what it gives");
  }
  const { needs } = capability;
  const stated = {
    packages: needs.packages.length > 0,
    hosts: needs.hosts.length + needs.hostsOf.length > 0,
    secrets: needs.secrets.length > 0,
  };
  for (const [place, need] of test.needs.entries()) {
    if (typeof need !== "string" || stated[need]) continue;
    const instead = need === "packages" ? "name the package, e.g. `npm:is-number@7.0.0`, or remove it" : "remove it";
    tell([index, "needs", place], `\`${capability.name}\` states no ${need} as needed`, instead);
  }
}

/** A test with other arguments than the capability takes tests nothing, unless it is about them. */
function checkArguments(test: SkillTest, { name, parameters }: SkillCapability, index: number, tell: Tell): void {
  if (test.expect.error === "INVALID_ARGUMENTS") return;
  const parsed = inputSchema(parameters).safeParse(test.arguments);
  for (const issue of parsed.error?.issues ?? []) {
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const shown = path.length === 0 ? "" : `${path.map(String).join(".")}: `;
    const fix = `give what \`${name}\` takes, or expect \`error: INVALID_ARGUMENTS\``;
    tell([index, "arguments", ...path], `${shown}${issue.message}`, fix);
  }
}
