/** Whether a value of a record is an object with keys. */
export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The strings of a list; none of anything else. */
export function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((it) => typeof it === "string") : [];
}

/** Every string and number in a value, in its order. Each takes as long however deep it lies. */
export function* leaves(value: unknown): Generator<string> {
  const open: Iterator<unknown>[] = [[value].values()];
  for (let inner = open.at(-1); inner; inner = open.at(-1)) {
    const next = inner.next();
    if (next.done) open.pop();
    else if (typeof next.value === "string") yield next.value;
    else if (typeof next.value === "number") yield String(next.value);
    else if (Array.isArray(next.value)) open.push(next.value.values());
    else if (isObject(next.value)) open.push(Object.values(next.value).values());
  }
}
