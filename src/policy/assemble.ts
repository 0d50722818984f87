import { z } from "zod";
import { prepareSchema } from "./authorize.ts";
import { budgetPolicies } from "./budget-policies.ts";
import type { Bundle, BundlePolicy, Problem } from "./bundle.ts";
import { readCedar } from "./cedar-files.ts";
import { bundleNameSchema, versionSchema } from "./distribution/manifest.ts";
import { type Egress, grantPolicy, readGroupLine } from "./egress.ts";
import { evaluate } from "./evaluate.ts";
import { LAYERS } from "./layer.ts";
import { loggingPolicies } from "./logging-policies.ts";
import { packagePolicies } from "./package-policies.ts";
import { prepareSets } from "./prepare.ts";
import { profileSchema } from "./profile.ts";
import { digestOf } from "./read-files.ts";
import { type Describe, type PolicyTest, runTests, type TestResult, testProblems, testsSchema } from "./tests.ts";
import { OWN_VOCABULARY, type Vocabulary } from "./vocabulary.ts";
import { readYaml } from "./yaml.ts";

export const manifestSchema = z.strictObject({
  name: bundleNameSchema,
  version: versionSchema,
  description: z.string().max(1_000).optional(),
  /** Where it is made for: it is refused elsewhere. */
  layer: z.enum(LAYERS).optional(),
  /** It only says what is forbidden: another layer has to say what is permitted, and it may permit connections to every host. */
  narrows: z.boolean().default(false),
  /** `shadow`: what it would decide is recorded, and decides nothing. */
  mode: z.enum(["enforce", "shadow"]).default("enforce"),
});

const PROFILE = "profile.yaml";

/** Lines of the named groups of hosts that a bundle uses. */
export type Groups = ReadonlyMap<string, readonly string[]>;

/** The tools that policy decides, as its tests call them and as its policies speak of them. */
export interface Language {
  readonly describe: Describe;
  /** Without it no skill is known. */
  readonly vocabulary?: Vocabulary;
}

export interface LoadedBundle extends Bundle {
  readonly tests: readonly TestResult[];
  /** As its files say it, for whoever compares bundles. */
  readonly written: {
    /** Cedar, by id; with those that the profile stands for. */
    readonly policies: ReadonlyMap<string, string>;
    readonly tests: readonly PolicyTest[];
  };
}

export type CheckedBundle =
  | { readonly valid: true; readonly bundle: LoadedBundle }
  | { readonly valid: false; readonly problems: readonly Problem[]; readonly tests: readonly TestResult[] };

/** Makes a bundle of its files' names and texts, in the order of names: all of it is right, or none of it is used. */
export function assembleBundle(
  files: ReadonlyMap<string, string>,
  groups: Groups,
  { describe, vocabulary = OWN_VOCABULARY }: Language,
): CheckedBundle {
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
  const budgets = profile?.value.budgets ? budgetPolicies(profile.value.budgets) : [];
  const logging = profile?.value.logging ? loggingPolicies(profile.value.logging) : [];
  const text = [grants.text, ...packages, ...budgets, ...logging].join("\n");
  const { parts, problems: inPolicies } = readCedar([...cedar, { name: PROFILE, text }], {
    narrows: manifest?.value.narrows === true,
    vocabulary,
  });
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
  prepareSchema(vocabulary);
  const { sets, problems: unparsed } = prepareSets(digest, parts);
  if (unparsed.length > 0) return { valid: false, problems: unparsed, tests: [] };
  const placed = ({ id, file, line }: BundlePolicy) => {
    const [, part, key = "", within] = file === PROFILE ? (/#(\w+)\.(\w+)(?:\.(\w+))?/.exec(id) ?? []) : [];
    if (part === undefined) return line;
    const last = within !== undefined && /^\d+$/.test(within) ? Number(within) - 1 : within;
    return profile.placeOf([part, key, ...(last === undefined ? [] : [last])]).line;
  };
  const policies = new Map(
    parts.map(({ offset, source, ...policy }) => [policy.id, { ...policy, line: placed(policy) }]),
  );
  const { name, version, narrows, mode, layer } = manifest.value;
  const bundle: Bundle = {
    identity: { name, version, digest },
    profile: profile.value,
    stated: profile.stated,
    policies,
    narrows,
    mode,
    ...(layer && { layer }),
    sets,
    vocabulary,
  };
  const results = runTests(bundle, tests.value, describe);
  const failed = [...permitsNonsense(bundle), ...testProblems(results, "tests.yaml", tests.placeOf)];
  if (failed.length > 0) return { valid: false, problems: failed, tests: results };
  const written = { policies: new Map(parts.map((it) => [it.id, it.text])), tests: tests.value };
  return { valid: true, bundle: { ...bundle, tests: results, written } };
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
