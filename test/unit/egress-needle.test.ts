import { expect, test } from "vitest";
import { needlesOf, occurrences } from "../../src/egress/needle.ts";

/** Counts how often a character of the text is looked up. */
class CountingMap extends Map<number, readonly string[]> {
  static looked = 0;
  override get(code: number): readonly string[] | undefined {
    CountingMap.looked += 1;
    return super.get(code);
  }
}

test.each([
  ["of signs alone, in a text of its sign", "!".repeat(16), "!"],
  ["of signs alone, in a text of half of it", "!".repeat(16), "!!!!!!!!a"],
  ["of backslashes", "\\".repeat(16), "\\"],
  ["whose letters stand late, in a text of these", "!@#$%^&*(abc)", "abc"],
  ["whose letters stand late, in a text that breaks off", "!@#$%^&*(abc)", "!@#$%^&*(abc"],
  ["whose letters stand late, in a text of it", "!@#$%^&*(abc)", "!@#$%^&*(abc)"],
])("a secret %s, is looked for in a time that no text makes longer", (_, value, piece) => {
  const text = piece.repeat(Math.ceil(4_000 / piece.length));
  for (const needle of needlesOf(value)) {
    CountingMap.looked = 0;
    const counted = { ...needle, backwards: needle.backwards.map((it) => new CountingMap(it)) };
    expect(occurrences(counted, text)).toEqual(occurrences(needle, text));
    expect(CountingMap.looked).toBeLessThanOrEqual(text.length * needle.parts.length);
  }
});

test("every place is found, each as far as it reaches, also where two overlap", () => {
  const [plain] = needlesOf("&&");
  if (!plain) throw new Error("no needle");
  expect(occurrences(plain, "&&amp;&")).toEqual([
    [0, 6],
    [1, 7],
  ]);
});
