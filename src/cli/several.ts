/** An option that may be given again. */
export function several(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
