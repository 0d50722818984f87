import { createHash } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { preparsePolicySet } from "@cedar-policy/cedar-wasm/nodejs";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type Bundle, type Problem, problemText } from "./bundle.ts";
import { type CedarFile, readCedar } from "./cedar-files.ts";
import { evaluate, prepareSchema } from "./evaluate.ts";
import { profileSchema } from "./profile.ts";
import { type Describe, runTests, type TestResult, testProblems, testsSchema } from "./tests.ts";
import { readYaml } from "./yaml.ts";

const MAX_FILE_BYTES = 1_048_576;
const MAX_FILES = 256;

const manifestSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "must be lower-case letters, digits and dashes"),
  version: z.string().regex(/^\d+\.\d+\.\d+$/, "must be a version such as 1.0.0"),
  description: z.string().max(1_000).optional(),
});

export interface LoadedBundle extends Bundle {
  readonly tests: readonly TestResult[];
}

/**
 * Reads, validates and tests a bundle: all of it is right, or none of it is used. The only I/O of this folder.
 * @throws GatewayError POLICY_UNREADABLE, POLICY_INVALID naming every problem with file and line
 */
export async function loadBundle(directory: string, { describe }: { describe: Describe }): Promise<LoadedBundle> {
  const files = await readFiles(directory);
  const problems: Problem[] = [];
  const yaml = <T>(name: string, schema: z.ZodType<T>): T | undefined => {
    const read = readYaml(name, files.get(name) ?? "", schema);
    if ("value" in read) return read.value;
    problems.push(...read.problems);
    return undefined;
  };
  if (!files.has("bundle.yaml")) {
    problems.push({ file: "bundle.yaml", message: "is missing", fix: "write `name: …` and `version: 1.0.0` in it" });
  }
  const manifest = yaml("bundle.yaml", manifestSchema);
  const profile = yaml("profile.yaml", profileSchema);
  const tests = files.has("tests.yaml") ? yaml("tests.yaml", testsSchema) : [];
  const cedar: CedarFile[] = [...files]
    .filter(([name]) => name.endsWith(".cedar"))
    .map(([name, text]) => ({ name, text }));
  const { parts, problems: inPolicies } = readCedar(cedar);
  problems.push(...inPolicies);
  if (parts.length === 0 && problems.length === 0) {
    problems.push({
      file: "*.cedar",
      message: "there is no policy, so everything would be denied",
      fix: "add a permit",
    });
  }
  if (!manifest || !profile || !tests || problems.length > 0) throw invalid(directory, problems);

  const digest = digestOf(files);
  prepareSchema();
  const parsed = preparsePolicySet(digest, { staticPolicies: Object.fromEntries(parts.map((it) => [it.id, it.text])) });
  if (parsed.type === "failure") {
    throw invalid(
      directory,
      parsed.errors.map((it) => ({ file: "(bundle)", message: it.message })),
    );
  }
  const policies = new Map(parts.map(({ text, offset, ...policy }) => [policy.id, policy]));
  const { name, version } = manifest;
  const bundle: Bundle = { identity: { name, version, digest }, profile, policies, preparsed: digest };
  proveDenial(bundle, directory);
  const results = runTests(bundle, tests, describe);
  const failed = testProblems(results, "tests.yaml", files.get("tests.yaml") ?? "");
  if (failed.length > 0) throw invalid(directory, failed);
  return { ...bundle, tests: results };
}

/** The evaluator must refuse what no schema knows, whatever the bundle permits: otherwise nothing it says can be believed. */
function proveDenial(bundle: Bundle, directory: string): void {
  const nobody = { id: "nobody", client: { name: "", version: "" }, transport: "stdio" as const };
  const resource = { type: "session" as const, id: "none" };
  const decision = evaluate(bundle, { principal: nobody, action: "no such action", resource, context: {} });
  if (decision.outcome === "deny" && decision.problems.length > 0) return;
  throw invalid(directory, [{ file: "(bundle)", message: "a request for an unknown action was not refused" }]);
}

function invalid(directory: string, problems: readonly Problem[]): GatewayError {
  const lines = problems.map((it) => `  ${problemText(it)}`).join("\n");
  return new GatewayError("POLICY_INVALID", `the bundle \`${directory}\` is not valid:\n${lines}`);
}

/** Names and texts, sorted by name. Anything that is not plainly a part of a bundle is refused: a misspelt name must not be ignored. */
async function readFiles(directory: string): Promise<ReadonlyMap<string, string>> {
  const problems: Problem[] = [];
  const files = new Map<string, string>();
  try {
    const names = (await readdir(directory)).sort();
    if (names.length > MAX_FILES) problems.push({ file: "(bundle)", message: `has more than ${MAX_FILES} files` });
    for (const name of names.slice(0, MAX_FILES)) {
      const path = join(directory, name);
      const problem = unfit(name, await lstat(path));
      if (problem) problems.push({ file: name, ...problem });
      else if (name !== "README.md")
        files.set(name, new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path)));
    }
    const { mode } = await lstat(directory);
    if (mode & 0o002)
      problems.push({ file: ".", message: "anybody may write the folder", fix: `chmod o-w ${directory}` });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GatewayError("POLICY_UNREADABLE", `cannot read the bundle \`${directory}\`: ${reason}`, { cause: error });
  }
  if (problems.length > 0) throw invalid(directory, problems);
  return files;
}

function unfit(name: string, stats: Awaited<ReturnType<typeof lstat>>): { message: string; fix?: string } | undefined {
  if (!stats.isFile())
    return { message: "is not a regular file", fix: "put files, not links or folders, into a bundle" };
  if (!/^([a-z0-9][a-z0-9._-]*\.cedar|(bundle|profile|tests)\.yaml|README\.md)$/i.test(name)) {
    const known = "bundle.yaml, profile.yaml, tests.yaml, README.md and *.cedar";
    return { message: "does not belong into a bundle", fix: `a bundle holds ${known}; check the spelling` };
  }
  if (Number(stats.size) > MAX_FILE_BYTES) return { message: `is larger than ${MAX_FILE_BYTES} bytes` };
  if (Number(stats.mode) & 0o002) return { message: "anybody may write it", fix: `chmod o-w ${name}` };
  return undefined;
}

/** SHA-256 over names, sizes and contents in the order of names. */
function digestOf(files: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256");
  for (const [name, text] of files) hash.update(`${name}\0${Buffer.byteLength(text)}\0`).update(text);
  return `sha256:${hash.digest("hex")}`;
}
