import fc from "fast-check";
import { expect, test } from "vitest";
import { createMask } from "../../src/egress/mask.ts";

const TOKEN = "ghp_4f1c09d2e7A";
const AWKWARD = `a+b/c="d\\e'<&> %41~?`;

const hex = (char: string) => char.charCodeAt(0).toString(16).padStart(2, "0");
const escapeWith = (write: (char: string) => string, which: RegExp) => (value: string) =>
  value.replaceAll(which, (char) => write(char));

/** How programs write a value that they give back. */
const writers: Record<string, (value: string) => string> = {
  raw: (it) => it,
  encodeURIComponent,
  "encodeURIComponent in small letters": (it) =>
    encodeURIComponent(it).replaceAll(/%../g, (code) => code.toLowerCase()),
  encodeURI,
  form: (it) => new URLSearchParams({ v: it }).toString().slice(2),
  query: (it) => new URL(`http://x/?v=${it.replaceAll(/[&#%+]/g, encodeURIComponent)}`).search.slice(3),
  JSON: (it) => JSON.stringify(it).slice(1, -1),
  "JSON with slashes escaped": (it) => JSON.stringify(it).slice(1, -1).replaceAll("/", "\\/"),
  "JSON for HTML": escapeWith((it) => `\\u00${hex(it)}`, /[<>&'"+=/\\]/g),
  ".NET's JSON": escapeWith((it) => `\\u00${hex(it).toUpperCase()}`, /[<>&'"+`\\]/g),
  HTML: (it) =>
    it
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replaceAll("'", "&#039;"),
  "HTML by number": escapeWith((it) => `&#x${hex(it).toUpperCase()};`, /[<>&'"/=`]/g),
};

/** Of all that can be a value, with those that go wrong more often than by chance. */
const values = fc.oneof(
  fc.constantFrom(TOKEN, AWKWARD, "abababab", "aaaaaaaa", "%25%25%25", "\\\\\\\\\\\\\\\\", "!@#$%^&*()", "two words!"),
  fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((it) => String.fromCharCode(it)),
    minLength: 8,
    maxLength: 40,
  }),
);

/** Any bytes, and often the beginning or another part of a value. */
const noise = (value: string) =>
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((it) => Buffer.from(it).toString("latin1")),
    fc.tuple(fc.nat(value.length), fc.nat(value.length)).map(([a, b]) => value.slice(Math.min(a, b), Math.max(a, b))),
    fc.constantFrom("%", "\\", "&", "+", "=", "%2", "\\u00", '{"a":"', "\n"),
  );

const spelling = (value: string) =>
  fc.oneof(
    fc.constantFrom(...Object.values(writers)).map((write) => write(value)),
    fc
      .tuple(fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ maxLength: 5 }), fc.constantFrom("base64", "base64url"))
      .map(([before, after, encoding]) =>
        Buffer.concat([before, Buffer.from(value), after]).toString(encoding as "base64" | "base64url"),
      ),
  );

const bodies = values.chain((value) =>
  fc.record({
    value: fc.constant(value),
    parts: fc.array(fc.oneof(noise(value), spelling(value)), { maxLength: 8 }),
    cuts: fc.array(fc.nat(1000)),
  }),
);

function inPieces(body: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((it) => it % (body.length + 1)).toSorted((a, b) => a - b), body.length];
  return places.slice(1).map((to, at) => body.subarray(places[at], to));
}

function streamed(values: readonly string[], pieces: readonly Buffer[]): string {
  const stream = createMask(values).stream();
  return Buffer.concat([...pieces.map((it) => stream.push(it)), stream.end()]).toString("latin1");
}

test.each(Object.entries(writers))("a value that is written as %s is masked, and nothing beside it", (_name, write) => {
  for (const value of [TOKEN, AWKWARD, "correct horse!", "~~~~~~~~"]) {
    const written = write(value);
    const text = createMask([value]).text(`before ${written} after ${written}`);
    expect(text).toBe(`before ${"*".repeat(written.length)} after ${"*".repeat(written.length)}`);
  }
});

test("a value in base64 is masked with every character that holds a bit of it", () => {
  for (const value of [TOKEN, AWKWARD, "12345678", "123456789", "1234567890", "~~~???>>>"]) {
    for (const before of ["", "a", "ab", "abc", "user:"]) {
      for (const after of ["", "z", "zz", "zzz"]) {
        for (const encoding of ["base64", "base64url"] as const) {
          const encoded = Buffer.from(before + value + after).toString(encoding);
          const from = Math.floor((before.length * 8) / 6);
          const to = Math.ceil(((before.length + value.length) * 8) / 6);
          expect(createMask([value]).text(`"${encoded}"`)).toBe(
            `"${encoded.slice(0, from)}${"*".repeat(to - from)}${encoded.slice(to)}"`,
          );
        }
      }
    }
  }
});

test("however a body is cut into pieces, the same comes out, of the same length", () => {
  fc.assert(
    fc.property(bodies, ({ value, parts, cuts }) => {
      const body = Buffer.from(parts.join(""), "latin1");
      const whole = createMask([value]).text(body.toString("latin1"));
      expect(whole).toHaveLength(body.length);
      expect(streamed([value], inPieces(body, cuts))).toBe(whole);
      expect(
        streamed(
          [value],
          Array.from(body, (it) => Buffer.of(it)),
        ),
      ).toBe(whole);
    }),
    { numRuns: 1_000 },
  );
});

test("wherever a value stands and however it is written, it does not leave", () => {
  const placed = values.chain((value) =>
    fc.record({
      value: fc.constant(value),
      before: noise(value),
      written: fc.constantFrom(...Object.values(writers)).map((write) => write(value)),
      after: noise(value),
      cuts: fc.array(fc.nat(1000)),
    }),
  );
  fc.assert(
    fc.property(placed, ({ value, before, written, after, cuts }) => {
      const body = Buffer.from(before + written + after, "latin1");
      const out = streamed([value], inPieces(body, cuts));
      expect(out.slice(before.length, before.length + written.length)).toMatch(/^\**$/);
    }),
    { numRuns: 1_000 },
  );
});

test("what holds no value stays as it is, and is not copied", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(1000)), (bytes, cuts) => {
      const body = Buffer.from(bytes);
      expect(streamed([TOKEN, AWKWARD], inPieces(body, cuts))).toBe(body.toString("latin1"));
    }),
  );
  const chunk = Buffer.from("x".repeat(1000));
  expect(createMask([TOKEN]).stream().push(chunk).buffer).toBe(chunk.buffer);
});

test("several values are masked, also where they overlap; the pieces that came in stay as they were", () => {
  const body = Buffer.from("-one-value-two-value-one-");
  expect(streamed(["one-value-two", "value-two-value"], [body])).toBe("-*******************-one-".padEnd(25));
  expect(body.toString()).toBe("-one-value-two-value-one-");
  expect(createMask([]).text("anything")).toBe("anything");
});

test("only what may become a value is held back", () => {
  const stream = createMask([TOKEN]).stream();
  const push = (text: string) => stream.push(Buffer.from(text)).toString();
  expect(push("data: x\n\n")).toBe("data: x\n\n");
  expect(push(`data: ${TOKEN.slice(0, -1)}`)).toBe("data: ");
  expect(push("\n")).toBe(`${TOKEN.slice(0, -1)}\n`);
  expect(push(TOKEN)).toBe("*".repeat(TOKEN.length));
  expect(push(TOKEN.slice(0, 5))).toBe("");
  expect(stream.end().toString()).toBe(TOKEN.slice(0, 5));
});

test("what is held back is less than a value at its longest", () => {
  fc.assert(
    fc.property(bodies, ({ value, parts }) => {
      const stream = createMask([value]).stream();
      let held = 0;
      for (const part of parts) {
        const bytes = Buffer.from(part, "latin1");
        held += bytes.length - stream.push(bytes).length;
        expect(held).toBeLessThan(value.length * 8);
      }
    }),
  );
});
