import { compareBuild, prerelease, satisfies, validRange } from "semver";
import type { Naming } from "./ecosystem.ts";
import { everyClause, readSemantic } from "./semantic.ts";

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const MAX_RANGE_CHARS = 256;
const CLAUSE = /^(\^|~|>=|<=|>|<|=)?\s*([0-9*xX][0-9A-Za-z.*+-]*)$/;

/**
 * Cargo (doc.rust-lang.org/cargo/reference/manifest.html). A crate is spelt as its index spells it: no other crate has a name that differs
 * in case or in `-` and `_` alone. Build metadata is a part of the version.
 */
export const cargoNaming: Naming = {
  ecosystem: "cargo",
  purlType: "cargo",
  osv: "crates.io",
  readName: (text) => (NAME.test(text) ? text : undefined),
  readVersion: readSemantic,
  sameName: (name) => name.toLowerCase().replaceAll("_", "-"),
  compare: (a, b) => compareBuild(a, b),
  isPrerelease: (version) => prerelease(version) !== null,
  isRange: (text) => readRequirement(text) !== undefined,
  satisfies: (version, range) =>
    everyClause(readRequirement(range), (it) => satisfies(version, it, { includePrerelease: true })),
  namespace: () => [],
};

/** Comma-separated; without an operator a version means `^`. */
function readRequirement(text: string): readonly string[] | undefined {
  if (text.length > MAX_RANGE_CHARS) return undefined;
  const clauses = text.split(",").map((it) => readClause(it.trim()));
  return clauses.every((it) => it !== undefined) ? clauses : undefined;
}

function readClause(text: string): string | undefined {
  const [, operator, version = ""] = CLAUSE.exec(text) ?? [];
  if (version === "") return undefined;
  const clause = `${operator ?? (/[*xX]/.test(version) ? "" : "^")}${version}`;
  return validRange(clause) === null ? undefined : clause;
}
