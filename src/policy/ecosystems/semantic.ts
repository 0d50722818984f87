import { parse } from "semver";

/** A number that JavaScript still counts exactly; longer ones could not be compared. */
const UNCOUNTABLE = /^\d{16,}$/;

/**
 * A version as semver.org writes it, and not as semver's parser also takes it (`v1.2.3`, ` 1.2.3`, `=1.2.3`); with its build metadata.
 * `undefined` when it is none.
 */
export function readSemantic(text: string): string | undefined {
  const parsed = parse(text);
  if (parsed?.raw !== text || parsed.prerelease.some((it) => UNCOUNTABLE.test(String(it)))) return undefined;
  const build = parsed.build.length > 0 ? `+${parsed.build.join(".")}` : "";
  return parsed.version + build === text ? text : undefined;
}

/** Whether each clause holds; a range of none holds nothing. */
export function everyClause<Clause>(
  clauses: readonly Clause[] | undefined,
  holds: (clause: Clause) => boolean,
): boolean {
  return clauses !== undefined && clauses.length > 0 && clauses.every(holds);
}
