import { distance } from "fastest-levenshtein";

/** Among names shorter than this almost every one is an edit away from another. */
const MIN_CHARS = 4;

/** The popular names that are one edit away: a letter more, fewer, another, or two that changed places. None when it is popular itself. */
export function similarTo(name: string, popular: readonly string[]): string[] {
  if (popular.includes(name)) return [];
  return popular.filter((it) => it.length >= MIN_CHARS && isOneEdit(name, it));
}

function isOneEdit(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  return distance(a, b) === 1 || isSwap(a, b);
}

function isSwap(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  const at = [...a].findIndex((it, index) => it !== b[index]);
  const swapped = a.slice(0, at) + a.charAt(at + 1) + a.charAt(at) + a.slice(at + 2);
  return at >= 0 && swapped === b;
}
