const MAX_CHARS = 200;

/**
 * The licences of an SPDX expression of which one suffices: `MIT OR Apache-2.0` are two (`MIT/Apache-2.0` is how it was written once);
 * what has more in it than that stays one. None for what isn't an expression.
 */
export function licenseAlternatives(text: string): string[] {
  const expression = text.trim().replace(/^\(([^()]*)\)$/, "$1");
  if (expression.length > MAX_CHARS || !/^[A-Za-z0-9.+()/ -]+$/.test(expression)) return [];
  const parts = expression.split(/ +OR +| *\/ */);
  if (parts.every((it) => /^[A-Za-z0-9.+-]+$/.test(it))) return parts;
  return / (?:AND|OR|WITH) /.test(expression) ? [expression] : [];
}
