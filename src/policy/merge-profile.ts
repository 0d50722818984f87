import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { LAYERS, type LayerName } from "./layer.ts";
import { IMPLIED } from "./merge-packages.ts";
import type { MergeNode } from "./merge-rule.ts";
import { settle } from "./merge-settle.ts";
import { PROFILE_RULES } from "./merge-table.ts";
import { vouchedFor } from "./merge-vouched.ts";
import { type Profile, profileSchema } from "./profile.ts";

/** What a layer says of the sandbox's shape. */
export interface StatedProfile {
  readonly name: LayerName;
  /** As its `profile.yaml` has it; it fits `profileSchema`. */
  readonly stated: unknown;
}

/** A statement that does not hold, or not as it was meant. */
export interface MergeProblem {
  /** Of the key: `resources.memoryMiB`, `egress.hosts.db.example.org`. */
  readonly path: string;
  readonly layer: LayerName;
  readonly message: string;
}

export interface MergedStatements {
  /** As a `profile.yaml` of all layers would have it. */
  readonly stated: Readonly<Record<string, unknown>>;
  /** By key: the layer that has set it, or was the last to narrow it. What is not in it has its default. */
  readonly origin: ReadonlyMap<string, LayerName>;
  readonly problems: readonly MergeProblem[];
}

export interface MergedProfile extends MergedStatements {
  readonly profile: Profile;
}

/**
 * The profile that all layers leave, whatever their order in the list. Only what a layer states counts: what it leaves out is no opinion,
 * and what all leave out has its default.
 * @throws GatewayError POLICY_INVALID when the statements make no profile together
 */
export function mergeProfiles(layers: readonly StatedProfile[]): MergedProfile {
  const { layers: ordered, problems: unvouched } = vouchedFor(outermostFirst(layers));
  const merged = settle(mergeStatements(ordered), ordered);
  const read = profileSchema.safeParse(merged.stated);
  if (read.success) return { ...merged, problems: [...unvouched, ...merged.problems], profile: read.data };
  const problems = read.error.issues.map((it) => `  ${it.path.map(String).join(".")}: ${it.message}`).join("\n");
  throw new GatewayError("POLICY_INVALID", `the layers' profiles make none together:\n${problems}`);
}

/** The same, as far as each key can be merged by itself. */
export function mergeStatements(layers: readonly StatedProfile[]): MergedStatements {
  const origin = new Map<string, LayerName>();
  const problems: MergeProblem[] = [];
  let stated: unknown = {};
  for (const { name, stated: own } of outermostFirst(layers)) {
    stated = merge(PROFILE_RULES, [], stated, withImplied(own), { layer: name, origin, problems });
  }
  return { stated: record.parse(stated), origin, problems };
}

interface Step {
  readonly layer: LayerName;
  readonly origin: Map<string, LayerName>;
  readonly problems: MergeProblem[];
}

/** `outer` is what the layers so far come to. */
function merge(node: MergeNode, path: readonly string[], outer: unknown, inner: unknown, step: Step): unknown {
  if (inner === undefined || node.kind === "cedar") return outer;
  const key = path.join(".");
  if (node.kind !== "rule") return mergeKeys(node, path, outer, inner, step);
  if (outer === undefined) {
    step.origin.set(key, step.layer);
    return node.read(inner);
  }
  const { value, notes = [] } = node.merge(outer, inner);
  if (!isDeepStrictEqual(value, outer)) step.origin.set(key, step.layer);
  step.problems.push(...notes.map((message) => ({ path: key, layer: step.layer, message })));
  return value;
}

function mergeKeys(
  node: Exclude<MergeNode, { kind: "rule" | "cedar" }>,
  path: readonly string[],
  outer: unknown,
  inner: unknown,
  step: Step,
): unknown {
  const merged = new Map(Object.entries(record.parse(outer ?? {})));
  for (const [key, value] of Object.entries(record.parse(inner))) {
    const below = node.kind === "each" ? node.rule : Object.hasOwn(node.keys, key) ? node.keys[key] : undefined;
    // INVARIANT: a key that nobody has thought of here must not be dropped in silence.
    if (!below) throw new GatewayError("INTERNAL", `\`${[...path, key].join(".")}\` of a profile can't be merged`);
    const result = merge(below, [...path, key], merged.get(key), value, step);
    if (result !== undefined) merged.set(key, result);
  }
  return Object.fromEntries(merged);
}

const record = z.record(z.string(), z.unknown());

function withImplied(stated: unknown): unknown {
  const { packages, ...others } = z.looseObject({ packages: record.optional() }).parse(stated ?? {});
  return packages ? { ...others, packages: { ...IMPLIED, ...packages } } : others;
}

function outermostFirst(layers: readonly StatedProfile[]): StatedProfile[] {
  return layers.toSorted((a, b) => LAYERS.indexOf(a.name) - LAYERS.indexOf(b.name));
}
