import canonicalize from "canonicalize";
import { ISOLATION_LEVELS, type Profile } from "../profile.ts";

export interface KeyDiff {
  /** `resources.memoryMiB`. */
  readonly key: string;
  /** Absent when it was, or is, not there. */
  readonly from?: unknown;
  readonly to?: unknown;
  /** What it does to what an agent may, where that can be told. */
  readonly effect?: "wider" | "narrower";
}

/** Numbers of which more is more for an agent, or less. */
const MORE_IS_WIDER =
  /^(resources|limits|snapshots|files)\.|^timeouts\.(execMs|maxExecMs|idleMs)$|^output\.limitBytes$/;
const MORE_IS_NARROWER = /^packages\.minimumAgeHours\./;
/** Lists of what is granted, and of what is taken away. */
const GRANTS = /^(egress\.(allow|groups|private)|packages\.(allow|licenses|installScripts)|mounts|secrets)$/;
const DENIALS = /^packages\.deny$/;
/** Words, from the narrowest on. */
const WORDS: Readonly<Record<string, readonly unknown[]>> = {
  "isolation.floor": ISOLATION_LEVELS.toReversed(),
  "egress.onExfiltration": ["end-session", "refuse"],
  "packages.installScripts": ["deny", "allow"],
  "packages.vulnerable": ["deny", "allow"],
  "packages.unverified": ["deny", "allow"],
  "packages.buildsFromSource": ["deny", "allow"],
  writableRoot: [false, true],
};

/** The keys that mean something else now; a default that is written out is no difference. */
export function diffProfiles(before: Profile, after: Profile): KeyDiff[] {
  if ((before.packages === undefined) !== (after.packages === undefined)) {
    const { packages: from, ...old } = before;
    const { packages: to, ...now } = after;
    const effect = to ? "wider" : "narrower";
    const change: KeyDiff = {
      key: "packages",
      ...(from && { from: plain(from) }),
      ...(to && { to: plain(to) }),
      effect,
    };
    return [...diffProfiles(old, now), change];
  }
  const old = leaves("", plain(before));
  const now = leaves("", plain(after));
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((key) => {
    const [from, to] = [old.get(key), now.get(key)];
    if (canonicalize(from) === canonicalize(to)) return [];
    const effect = effectOf(key, from, to);
    return [{ key, ...(from !== undefined && { from }), ...(to !== undefined && { to }), ...(effect && { effect }) }];
  });
}

function effectOf(key: string, from: unknown, to: unknown): KeyDiff["effect"] {
  const grows = orderOf(key, from, to);
  return grows === undefined ? undefined : grows ? "wider" : "narrower";
}

/** Whether the step is towards more for an agent; `undefined` where it is neither, or both. */
function orderOf(key: string, from: unknown, to: unknown): boolean | undefined {
  // Without the key any licence will do, and advisories of any age.
  if (key === "packages.licenses" || key === "packages.maximumAdvisoryAgeHours") {
    if (from === undefined || to === undefined) return to === undefined;
  }
  const words = WORDS[key];
  if (words?.includes(from) && words.includes(to)) return words.indexOf(to) > words.indexOf(from);
  if (typeof from === "number" && typeof to === "number") {
    if (MORE_IS_WIDER.test(key) || key === "packages.maximumAdvisoryAgeHours") return to > from;
    return MORE_IS_NARROWER.test(key) ? to < from : undefined;
  }
  if (!Array.isArray(from) || !Array.isArray(to)) return undefined;
  const more = holds(to, from);
  if (more === holds(from, to)) return undefined;
  if (GRANTS.test(key)) return more;
  return DENIALS.test(key) ? !more : undefined;
}

function holds(list: readonly unknown[], other: readonly unknown[]): boolean {
  const known = new Set(list.map((it) => canonicalize(it)));
  return other.every((it) => known.has(canonicalize(it)));
}

/** JSON of it; a pattern as it is written. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if ("text" in value && ("pattern" in value || "purl" in value)) return value.text;
  return Object.fromEntries(Object.entries(value).flatMap(([k, v]) => (v === undefined ? [] : [[k, plain(v)]])));
}

function leaves(path: string, value: unknown): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return new Map([[path, value]]);
  return new Map(
    Object.entries(value).flatMap(([key, member]) => [...leaves(path === "" ? key : `${path}.${key}`, member)]),
  );
}
