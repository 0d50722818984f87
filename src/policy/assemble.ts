import { createHash } from "node:crypto";
import { preparsePolicySet } from "@cedar-policy/cedar-wasm/nodejs";
import { z } from "zod";
import type { Bundle, BundlePolicy, Problem } from "./bundle.ts";
import { readCedar } from "./cedar-files.ts";
import { type Egress, grantPolicy, readGroupLine } from "./egress.ts";
import { evaluate, prepareSchema } from "./evaluate.ts";
import { packagePolicies } from "./package-policies.ts";
import { profileSchema } from "./profile.ts";
import { type Describe, runTests, type TestResult, testProblems, testsSchema } from "./tests.ts";
import { readYaml } from "./yaml.ts";

const manifestSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "must be lower-case letters, digits and dashes"),
  version: z
    .string()
    .max(100)
    .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/, "must be a version such as 1.0.0"),
  description: z.string().max(1_000).optional(),
});

const PROFILE = "profile.yaml";

/** Lines of the named groups of hosts that a bundle uses. */
export type Groups = ReadonlyMap<string, readonly string[]>;

export interface LoadedBundle extends Bundle {
  readonly tests: readonly TestResult[];
}

export type CheckedBundle =
  | { readonly valid: true; readonly bundle: LoadedBundle }
  | { readonly valid: false; readonly problems: readonly Problem[]; readonly tests: readonly TestResult[] };

/** Makes a bundle of its files' names and texts, in the order of names: all of it is right, or none of it is used. */
export function assembleBundle(files: ReadonlyMap<string, string>, groups: Groups, describe: Describe): CheckedBundle {
  const problems: Problem[] = [];
  const yaml = <T>(name: string, schema: z.ZodType<T>) => {
    const read = readYaml(name, files.get(name) ?? "", schema);
    if ("value" in read) return read;
    problems.push(...read.problems);
    return undefined;
  };
  if (!files.has("bundle.yaml")) {
    problems.push({ file: "bundle.yaml", message: "is missing", fix: "write `name: …` and `version: 1.0.0` in it" });
  }
  const manifest = files.has("bundle.yaml") ? yaml("bundle.yaml", manifestSchema) : undefined;
  const profile = yaml(PROFILE, profileSchema.prefault({}));
  const tests = yaml("tests.yaml", testsSchema.default([]));
  const cedar = [...files].filter(([name]) => name.endsWith(".cedar")).map(([name, text]) => ({ name, text }));
  const grants = profile ? grantsOf(profile.value.egress, groups) : { text: "", problems: [] };
  problems.push(...grants.problems);
  const packages = profile?.value.packages ? packagePolicies(profile.value.packages) : [];
  const text = [grants.text, ...packages].join("\n");
  const { parts, problems: inPolicies } = readCedar([...cedar, { name: PROFILE, text }]);
  problems.push(...inPolicies);
  if (parts.length === 0 && inPolicies.length === 0) {
    problems.push({
      file: "*.cedar",
      message: "there is no policy, so everything would be denied",
      fix: "add a permit",
    });
  }
  if (!manifest || !profile || !tests || problems.length > 0) return { valid: false, problems, tests: [] };

  // What a group means here is a part of what is decided.
  const meant = [...groups].map(([name, lines]): [string, string] => [`groups/${name}`, lines.join("\n")]);
  const digest = digestOf(new Map([...files, ...meant]));
  prepareSchema();
  const parsed = preparsePolicySet(digest, { staticPolicies: Object.fromEntries(parts.map((it) => [it.id, it.text])) });
  if (parsed.type === "failure") {
    return {
      valid: false,
      problems: parsed.errors.map((it) => ({ file: "(bundle)", message: it.message })),
      tests: [],
    };
  }
  const placed = ({ id, file, line }: BundlePolicy) => {
    const [, part, key = "", index] = file === PROFILE ? (/#(\w+)\.(\w+)(?:\.(\d+))?/.exec(id) ?? []) : [];
    if (part === undefined) return line;
    return profile.placeOf([part, key, ...(index === undefined ? [] : [Number(index) - 1])]).line;
  };
  const policies = new Map(
    parts.map(({ text, offset, source, ...policy }) => [policy.id, { ...policy, line: placed(policy) }]),
  );
  const { name, version } = manifest.value;
  const bundle = { identity: { name, version, digest }, profile: profile.value, policies, preparsed: digest };
  const results = runTests(bundle, tests.value, describe);
  const failed = [...permitsNonsense(bundle), ...testProblems(results, "tests.yaml", tests.placeOf)];
  if (failed.length > 0) return { valid: false, problems: failed, tests: results };
  return { valid: true, bundle: { ...bundle, tests: results } };
}

/** The convenient form is written out as the policies that it stands for, so that both are decided, and told of, in the same way. */
function grantsOf({ allow, groups }: Egress, meant: Groups): { text: string; problems: Problem[] } {
  const policies = allow.map((it, index) => grantPolicy(it, `allow.${index + 1}`));
  const problems: Problem[] = [];
  for (const name of groups) {
    const lines = meant.get(name);
    if (!lines) {
      const message = `there is no group \`${name}\``;
      problems.push({ file: PROFILE, message, fix: "policies/groups has them, each with its hosts" });
    }
    for (const [index, line] of (lines ?? []).entries()) {
      const read = readGroupLine(line);
      if ("problem" in read) problems.push({ file: `groups/${name}.txt`, message: read.problem });
      else policies.push(grantPolicy(read, `groups.${name}.${index + 1}`));
    }
  }
  return { text: policies.join("\n"), problems };
}

/** The evaluator must refuse what no schema knows, whatever the bundle permits: otherwise nothing it says can be believed. */
function permitsNonsense(bundle: Bundle): Problem[] {
  const nobody = { id: "nobody", client: { name: "", version: "" }, transport: "stdio" as const };
  const session = { type: "session" as const, id: "none" };
  const root = { type: "path" as const, path: "/" };
  const forbidden = {
    "an unknown action": { principal: nobody, action: "no such action", resource: session, context: {} },
    "an action on what it does not apply to": { principal: nobody, action: "exec", resource: root, context: {} },
    "an action without its facts": { principal: nobody, action: "exec", resource: session, context: {} },
  };
  return Object.entries(forbidden).flatMap(([what, request]) => {
    const { outcome, problems } = evaluate(bundle, request);
    const refused = outcome === "deny" && problems.length > 0;
    return refused ? [] : [{ file: "(bundle)", message: `the evaluator did not refuse ${what}` }];
  });
}

/** SHA-256 over names, sizes and contents in the order of names. */
function digestOf(files: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256");
  for (const [name, text] of files) hash.update(`${name}\0${Buffer.byteLength(text)}\0`).update(text);
  return `sha256:${hash.digest("hex")}`;
}
