/** A number, a qualifier, or what is behind a `-` or where digits meet letters. */
type Item = bigint | string | readonly Item[];

/** In order; the empty one is the release itself. Those that are not here are above all that are, by the alphabet. */
const QUALIFIERS = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const ALIASES: ReadonlyMap<string, string> = new Map([
  ["ga", ""],
  ["final", ""],
  ["release", ""],
  ["cr", "rc"],
]);
const SHORT: ReadonlyMap<string, string> = new Map([
  ["a", "alpha"],
  ["b", "beta"],
  ["m", "milestone"],
]);

const SEPARATOR = /[.-]/;

/** The order of Maven's own ComparableVersion (maven.apache.org/pom.html#version-order-specification). */
export function compareMaven(a: string, b: string): number {
  return compareItems(parseItems(a), parseItems(b));
}

function parseItems(version: string): Item {
  const root: Item[] = [];
  const lists = [root];
  let list = root;
  const nest = (): void => {
    const inner: Item[] = [];
    list.push(inner);
    list = inner;
    lists.push(inner);
  };
  const tokens = version.toLowerCase().match(/\d+|[^\d.-]+|[.-]/g) ?? [];
  for (const [index, token] of tokens.entries()) {
    const [before = "-", next = ""] = [tokens[index - 1], tokens[index + 1]];
    if (SEPARATOR.test(token)) {
      if (SEPARATOR.test(before)) list.push(0n);
      if (token === "-") nest();
      continue;
    }
    const isNumber = /\d/.test(token);
    // `.X` counts as `-X`, but in the middle.
    if (!isNumber && !SEPARATOR.test(next) && list.length > 0) nest();
    list.push(isNumber ? BigInt(token) : qualifier(token, /\d/.test(next)));
    if (next !== "" && !SEPARATOR.test(next)) nest();
  }
  for (const it of lists.toReversed()) normalise(it);
  return root;
}

function qualifier(word: string, beforeDigit: boolean): string {
  const long = beforeDigit ? (SHORT.get(word) ?? word) : word;
  return ALIASES.get(long) ?? long;
}

/** What says nothing at the end is taken away: `1.0.0` is `1`, `1-ga` is `1`. */
function normalise(list: Item[]): void {
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const item = list[index];
    if (item === undefined) return;
    if (isNothing(item)) list.splice(index, 1);
    else if (!isList(item)) return;
  }
}

function isNothing(item: Item): boolean {
  return isList(item) ? item.length === 0 : item === 0n || item === "";
}

function isList(item: Item | undefined): item is readonly Item[] {
  return Array.isArray(item);
}

function compareItems(a: Item | undefined, b: Item | undefined): number {
  if (a === undefined) return b === undefined ? 0 : -compareItems(b, undefined);
  if (typeof a === "bigint") return compareNumber(a, b);
  if (typeof a === "string") return compareQualifier(a, b);
  if (b !== undefined && !isList(b)) return typeof b === "bigint" ? -1 : 1;
  for (let index = 0; index < Math.max(a.length, b?.length ?? 0); index += 1) {
    const order = compareItems(a[index], b?.[index]);
    if (order !== 0) return order;
  }
  return 0;
}

function compareNumber(a: bigint, b: Item | undefined): number {
  if (b === undefined) return a === 0n ? 0 : 1;
  if (typeof b !== "bigint") return 1;
  return a < b ? -1 : Number(a > b);
}

function compareQualifier(a: string, b: Item | undefined): number {
  if (b !== undefined && typeof b !== "string") return -1;
  const [left, right] = [rank(a), rank(b ?? "")];
  return left < right ? -1 : Number(left > right);
}

function rank(word: string): string {
  const known = QUALIFIERS.indexOf(word);
  return known < 0 ? `${QUALIFIERS.length}-${word}` : String(known);
}
