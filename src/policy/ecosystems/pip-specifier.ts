import { explain, type Pep440Version } from "@renovatebot/pep440";
import { everyClause } from "./semantic.ts";

type Compare = (a: string, b: string) => number;

interface Clause {
  readonly operator: string;
  readonly version: string;
  readonly explained: Pep440Version;
  /** `== 1.4.*` */
  readonly prefix: boolean;
}

const CLAUSE = /^(~=|==|!=|<=|>=|<|>)\s*([a-z0-9._!+-]+?)(\.\*)?$/;
const MAX_SPECIFIER_CHARS = 256;
const UNCOUNTABLE = /\d{16}/;

/** Whether it is a version specifier (PEP 440), but `===`, which compares spellings: here there is one. */
export function isSpecifier(text: string): boolean {
  return readSpecifier(text) !== undefined;
}

/** The library's own `satisfies` is near but not equal to what pip does: `<1.0rc1` of `1.0b1`, `==1.1.0.*` of `1.1`, epochs. */
export function meetsSpecifier(version: string, specifier: string, compare: Compare): boolean {
  const explained = explain(version);
  return explained !== null && everyClause(readSpecifier(specifier), (it) => meets(version, explained, it, compare));
}

function readSpecifier(text: string): readonly Clause[] | undefined {
  if (text.length > MAX_SPECIFIER_CHARS || UNCOUNTABLE.test(text)) return undefined;
  const clauses = text.split(",").map((it) => readClause(it.trim()));
  return clauses.every((it) => it !== undefined) ? clauses : undefined;
}

function readClause(text: string): Clause | undefined {
  const [, operator = "", version = "", star] = CLAUSE.exec(text.toLowerCase()) ?? [];
  const explained = explain(version);
  if (!explained) return undefined;
  const equality = operator === "==" || operator === "!=";
  const plain = explained.public === explained.base_version && explained.local === null;
  if (star !== undefined && !(equality && plain)) return undefined;
  if (explained.local !== null && !equality) return undefined;
  if (operator === "~=" && explained.release.length < 2) return undefined;
  return { operator, version, explained, prefix: star !== undefined };
}

function meets(version: string, explained: Pep440Version, clause: Clause, compare: Compare): boolean {
  const { operator, version: bound, explained: limit } = clause;
  const sameBase = () => compare(explained.base_version, limit.base_version) === 0;
  switch (operator) {
    case "==":
      return equals(version, explained, clause, compare);
    case "!=":
      return !equals(version, explained, clause, compare);
    case "~=":
      return compare(explained.public, bound) >= 0 && beginsWith(explained, limit, limit.release.slice(0, -1));
    case "<=":
      return compare(explained.public, bound) <= 0;
    case ">=":
      return compare(explained.public, bound) >= 0;
    case "<":
      // A pre-release of what it must be below is not meant, unless the bound is a pre-release itself.
      return compare(version, bound) < 0 && !(explained.is_prerelease && !limit.is_prerelease && sameBase());
    default:
      if (compare(version, bound) <= 0) return false;
      return !(((explained.is_postrelease && !limit.is_postrelease) || explained.local !== null) && sameBase());
  }
}

function equals(version: string, explained: Pep440Version, clause: Clause, compare: Compare): boolean {
  const { explained: limit } = clause;
  if (clause.prefix) return beginsWith(explained, limit, limit.release);
  return compare(limit.local === null ? explained.public : version, clause.version) === 0;
}

function beginsWith(version: Pep440Version, limit: Pep440Version, release: readonly number[]): boolean {
  return version.epoch === limit.epoch && release.every((it, index) => it === (version.release[index] ?? 0));
}
