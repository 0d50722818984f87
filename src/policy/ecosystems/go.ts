import { compare, prerelease } from "semver";
import type { Naming } from "./ecosystem.ts";
import { isModulePath } from "./go-path.ts";
import { everyClause, readSemantic } from "./semantic.ts";

const CLAUSE = /^(>=|<=|>|<)?(v\d+(?:\.\d+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+incompatible)?)$/;
const MAX_RANGE_CHARS = 256;

/** Go modules (go.dev/ref/mod): paths as golang.org/x/mod/module.CheckPath takes them; canonical versions, pseudo-versions among them. */
export const goNaming: Naming = {
  ecosystem: "go",
  purlType: "golang",
  osv: "Go",
  readName: (text) => (isModulePath(text) ? text : undefined),
  readVersion: (text) => {
    if (!text.startsWith("v")) return undefined;
    const [number = "", build] = text.slice(1).split("+");
    const canonical = build === undefined || build === "incompatible";
    return canonical && readSemantic(number) !== undefined ? text : undefined;
  },
  compare: (a, b) => compare(a.slice(1), b.slice(1)),
  isPrerelease: (version) => prerelease(version.slice(1)) !== null,
  isRange: (text) => readQueries(text) !== undefined,
  satisfies: (version, range) => everyClause(readQueries(range), (it) => meets(version.slice(1), it)),
  namespace: (name) => name.split("/").slice(0, -1),
};

/** A path or a version as it stands in a URL of the proxy protocol: an upper-case letter becomes `!` and the lower-case one. */
export function escapeGo(text: string): string {
  return text.replace(/[A-Z]/g, (it) => `!${it.toLowerCase()}`);
}

/** `undefined` when nothing is escaped so. */
export function unescapeGo(text: string): string | undefined {
  if (/[A-Z]|!(?![a-z])/.test(text)) return undefined;
  return text.replace(/!([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

interface Query {
  readonly operator: string | undefined;
  readonly version: string;
}

/** Version queries as `go get` has them, separated by commas: `>=v1.2.3`, `<v2.0.0`, `v1.2`. */
function readQueries(text: string): readonly Query[] | undefined {
  if (text.length > MAX_RANGE_CHARS) return undefined;
  const queries = text.split(",").map((it) => readQuery(it.trim()));
  return queries.every((it) => it !== undefined) ? queries : undefined;
}

function readQuery(text: string): Query | undefined {
  const [, operator, version = ""] = CLAUSE.exec(text) ?? [];
  const number = version.slice(1).replace("+incompatible", "");
  const parts = /^\d+(?:\.\d+)*$/.test(number) ? number.split(".").length : 3;
  if (readSemantic(number + ".0".repeat(3 - parts)) === undefined) return undefined;
  // Go takes operators of whole versions only.
  if (operator !== undefined && parts < 3) return undefined;
  return { operator, version: number };
}

function meets(version: string, { operator, version: bound }: Query): boolean {
  switch (operator) {
    case ">=":
      return compare(version, bound) >= 0;
    case "<=":
      return compare(version, bound) <= 0;
    case ">":
      return compare(version, bound) > 0;
    case "<":
      return compare(version, bound) < 0;
    default:
      // `v1.2` is what begins so.
      if (bound.split(".").length < 3) return `${version}.`.startsWith(`${bound}.`);
      return compare(version, bound) === 0;
  }
}
