import { compareDebian } from "./apt-version.ts";
import type { Naming } from "./ecosystem.ts";
import { everyClause } from "./semantic.ts";

/** Debian policy 5.6.1. A `-` at the end would make apt remove the package. */
const NAME = /^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$/;
const MAX_NAME_CHARS = 128;
/** Policy 5.6.12. An epoch of 0 is not written. */
const VERSION = /^(?:[1-9]\d{0,8}:)?\d[A-Za-z0-9.+~-]*$/;
const MAX_VERSION_CHARS = 128;
const PRERELEASE = /~(?:alpha|beta|rc|pre)/;
const CLAUSE = /^(<<|<=|=|>=|>>)\s*(\S+)$/;

/** Debian's packages, for apt. Names are without architecture. */
export const aptNaming: Naming = {
  ecosystem: "apt",
  purlType: "deb/debian",
  osv: "Debian",
  readName: (text) => {
    const fits = text.length <= MAX_NAME_CHARS && NAME.test(text) && !text.includes("..");
    return fits ? text : undefined;
  },
  readVersion: (text) => {
    const fits = text.length <= MAX_VERSION_CHARS && VERSION.test(text) && !text.includes("..");
    return fits && !text.endsWith("-") ? text : undefined;
  },
  compare: compareDebian,
  isPrerelease: (version) => PRERELEASE.test(version),
  isRange: (text) => readRelations(text) !== undefined,
  satisfies: (version, range) => everyClause(readRelations(range), (it) => meets(version, it)),
  namespace: () => [],
};

interface Relation {
  readonly operator: string;
  readonly version: string;
}

/** As in `Depends`, without the parentheses: `>= 1.2, << 2`. */
function readRelations(text: string): readonly Relation[] | undefined {
  const relations = text.split(",").map((it) => {
    const [, operator = "", version = ""] = CLAUSE.exec(it.trim()) ?? [];
    return aptNaming.readVersion(version) === undefined ? undefined : { operator, version };
  });
  return relations.every((it) => it !== undefined) ? relations : undefined;
}

function meets(version: string, relation: Relation): boolean {
  const order = compareDebian(version, relation.version);
  switch (relation.operator) {
    case "<<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">=":
      return order >= 0;
    case ">>":
      return order > 0;
    default:
      return order === 0;
  }
}
