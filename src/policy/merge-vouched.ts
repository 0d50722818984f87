import type { MergeProblem, StatedProfile } from "./merge-profile.ts";

/** What reaches the computer itself, and can be narrowed. */
const TO_NARROW = [["mounts"], ["secrets"], ["egress", "private"], ["isolation", "floor"], ["writableRoot"]] as const;
/** What takes the place of what others chose, where neither is the narrower one; and what would be kept of the project's own doings. */
const FOR_OTHERS = [["audit"], ["egress", "hosts"], ["packages", "registries"]] as const;

/**
 * The layers, the project's without what is not its to say: its files come from whoever has written the project, as its code does, and a
 * secret's `command` would run on the computer of whoever works on it.
 */
export function vouchedFor(layers: readonly StatedProfile[]): {
  readonly layers: readonly StatedProfile[];
  readonly problems: readonly MergeProblem[];
} {
  const problems: MergeProblem[] = [];
  const vouched = layers.map((layer) => (layer.name === "project" ? vouchedProject(layer, layers, problems) : layer));
  return { layers: vouched, problems };
}

function vouchedProject(
  { name, stated }: StatedProfile,
  layers: readonly StatedProfile[],
  problems: MergeProblem[],
): StatedProfile {
  const kept: unknown = structuredClone(stated);
  const others = layers.filter((it) => it.name !== name);
  const drop = (path: readonly string[], message: string) => {
    const parent = at(kept, path.slice(0, -1));
    const key = path.at(-1) ?? "";
    if (!isRecord(parent) || !Object.hasOwn(parent, key)) return;
    problems.push({ path: path.join("."), layer: name, message });
    delete parent[key];
  };
  for (const path of FOR_OTHERS) drop(path, "it is not a project's to say: it does not hold");
  for (const path of TO_NARROW) {
    if (others.some((it) => at(it.stated, path) !== undefined)) continue;
    drop(path, "a project may narrow it, and no other layer states it: it does not hold");
  }
  takeSources(at(kept, ["secrets"]), others);
  return { name, stated: kept };
}

/** Where a secret's value is had, and how it is presented, is said by those who have it. One that nobody else has goes when they are merged. */
function takeSources(secrets: unknown, others: readonly StatedProfile[]): void {
  if (!Array.isArray(secrets)) return;
  const known = others
    .map((it) => at(it.stated, ["secrets"]))
    .flatMap((it): unknown[] => (Array.isArray(it) ? it : []));
  for (const secret of secrets.filter(isRecord)) {
    const original = known.filter(isRecord).find((it) => it["name"] === secret["name"]);
    if (!original) continue;
    for (const key of ["source", "present", "refreshMs"]) {
      if (original[key] === undefined) delete secret[key];
      else secret[key] = original[key];
    }
  }
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (found, key) => (isRecord(found) && Object.hasOwn(found, key) ? found[key] : undefined),
    value,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
