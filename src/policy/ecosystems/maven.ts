import type { Naming } from "./ecosystem.ts";
import { compareMaven } from "./maven-version.ts";

const PART = "[A-Za-z0-9_][A-Za-z0-9_.-]*";
const NAME = new RegExp(`^${PART}:${PART}$`);
const MAX_NAME_CHARS = 256;
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;
const MAX_VERSION_CHARS = 128;
/** What changes under its name. */
const SNAPSHOT = /(?:^|-)snapshot$|-\d{8}\.\d{6}-\d+$/i;
const PRERELEASE = /(?:^|[^a-z])(?:alpha|beta|milestone|rc|cr|ea|pre|preview|dev|[abm](?=\d))(?![a-z])/i;
const SET = /([[(])([^[\](),]*)(?:(,)([^[\](),]*))?([\])])/y;

/** Maven (maven.apache.org/pom.html): `group:artifact`. Snapshots, `LATEST` and `RELEASE` are no versions here: they change under their name. */
export const mavenNaming: Naming = {
  ecosystem: "maven",
  purlType: "maven",
  osv: "Maven",
  readName: (text) => {
    const fits = text.length <= MAX_NAME_CHARS && NAME.test(text) && !text.includes("..");
    return fits && !/\.(?::|$)/.test(text) ? text : undefined;
  },
  readVersion: (text) => {
    const fits = text.length <= MAX_VERSION_CHARS && VERSION.test(text) && /\d/.test(text) && !text.includes("..");
    return fits && !SNAPSHOT.test(text) ? text : undefined;
  },
  compare: compareMaven,
  isPrerelease: (version) => PRERELEASE.test(version),
  isRange: (text) => readSets(text) !== undefined,
  satisfies: (version, range) => (readSets(range) ?? []).some((it) => lies(version, it)),
  namespace: (name) => name.split(":").slice(0, 1),
};

interface VersionSet {
  readonly low: string | undefined;
  readonly lowIn: boolean;
  readonly high: string | undefined;
  readonly highIn: boolean;
}

/** `[1.0,2.0)`, `(,1.0]`, `[1.0]`, and several, separated by commas, of which one suffices. */
function readSets(text: string): readonly VersionSet[] | undefined {
  if (text.length > MAX_NAME_CHARS) return undefined;
  const sets: VersionSet[] = [];
  for (let at = 0; at < text.length || sets.length === 0; ) {
    SET.lastIndex = at;
    const match = SET.exec(text);
    const set = match && readSet(match);
    if (!set) return undefined;
    sets.push(set);
    at = SET.lastIndex;
    if (at < text.length && text[at] !== ",") return undefined;
    if (at === text.length - 1) return undefined;
    at += 1;
  }
  return sets;
}

function readSet(match: RegExpExecArray): VersionSet | undefined {
  const [, open, from = "", comma, to = "", close] = match;
  const [lowIn, highIn] = [open === "[", close === "]"];
  const [low, high] = [bound(from), comma === undefined ? bound(from) : bound(to)];
  if (low === null || high === null) return undefined;
  if (comma === undefined && !(lowIn && highIn && low !== undefined)) return undefined;
  if (low !== undefined && high !== undefined && compareMaven(low, high) > 0) return undefined;
  return { low, lowIn, high, highIn };
}

/** `undefined` for none, `null` for what is no version. */
function bound(text: string): string | undefined | null {
  const trimmed = text.trim();
  return trimmed === "" ? undefined : (mavenNaming.readVersion(trimmed) ?? null);
}

function lies(version: string, { low, lowIn, high, highIn }: VersionSet): boolean {
  const above = low === undefined ? 1 : compareMaven(version, low);
  const below = high === undefined ? -1 : compareMaven(version, high);
  return (above > 0 || (above === 0 && lowIn)) && (below < 0 || (below === 0 && highIn));
}
