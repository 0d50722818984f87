/** Whether a value of a record is an object with keys. */
export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The strings of a list; none of anything else. */
export function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((it) => typeof it === "string") : [];
}

/** Every string and number in a value, in its order. The log nests no deeper than 64. */
export function* leaves(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (typeof value === "number") yield String(value);
  else if (Array.isArray(value)) for (const it of value) yield* leaves(it);
  else if (isObject(value)) for (const it of Object.values(value)) yield* leaves(it);
}
