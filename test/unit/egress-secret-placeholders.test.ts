import fc from "fast-check";
import { expect, test } from "vitest";
import { createScanner, findPlaceholders, mintPlaceholders, ownerOf } from "../../src/egress/placeholders.ts";

const LONG = "X".repeat(64);
const placeholders = mintPlaceholders([{ name: "GITHUB_TOKEN" }, { name: "A" }, { name: LONG }]);
const some = fc.constantFrom(...placeholders.values());

const hex = (char: string) => char.charCodeAt(0).toString(16).padStart(2, "0");
const wrapped = (text: string, columns: number, end: string) =>
  text.replaceAll(new RegExp(`.{${columns}}`, "g"), `$&${end}`);
const base64 = (text: string) => Buffer.from(text, "latin1").toString("base64");

/** How a placeholder can be written. */
const writers: Record<string, (placeholder: string) => string> = {
  plain: (it) => it,
  "an URL, all of it escaped": (it) => it.replaceAll(/./g, (char) => `%${hex(char)}`),
  "an URL, partly escaped": (it) => it.replaceAll(/[-_aeiou]/g, (char) => `%${hex(char).toUpperCase()}`),
  "JSON, all of it escaped": (it) => it.replaceAll(/./g, (char) => `\\u00${hex(char)}`),
  base64,
  "base64 behind one byte": (it) => base64(`:${it}`),
  "base64 behind two bytes": (it) => base64(`x:${it}`),
  "base64 of user and password": (it) => base64(`x-access-token:${it}`),
  "base64 of a file, in lines": (it) => wrapped(base64(`export TOKEN=${it}\nexport OTHER=1\n`), 76, "\n"),
  "base64 in lines, in JSON": (it) => wrapped(base64(`x${it}yz`), 60, "\\n"),
  "base64 in lines, in a form": (it) => wrapped(base64(`xx${it}yz`), 64, "%0D%0A"),
  base64url: (it) => Buffer.from(`??>>${it}`).toString("base64url"),
};

test("each session has its own, which nobody can guess, and which have one form", () => {
  const others = mintPlaceholders([{ name: "GITHUB_TOKEN" }]);
  const placeholder = placeholders.get("GITHUB_TOKEN") ?? "";
  expect(placeholder).toMatch(/^glovebox-secret-GITHUB_TOKEN-[A-Za-z0-9_-]{32}$/);
  expect(others.get("GITHUB_TOKEN")).not.toBe(placeholder);
  expect(ownerOf(placeholders, placeholder)).toBe("GITHUB_TOKEN");
  expect(ownerOf(others, placeholder)).toBeUndefined();
  expect(findPlaceholders(`${placeholder} ${others.get("GITHUB_TOKEN")}`)).toEqual([
    placeholder,
    others.get("GITHUB_TOKEN"),
  ]);
});

/** Bytes, and pieces of a placeholder: all that may stand around one and is no part of its base64. */
const noise = fc.oneof(
  fc.uint8Array({ maxLength: 30 }).map((it) => `${Buffer.from(it).toString("latin1")}"`),
  fc.tuple(some, fc.nat(110)).map(([it, end]) => `${it.slice(0, Math.min(end, it.length - 1))}.`),
  fc.tuple(some, fc.nat(110)).map(([it, end]) => `${base64(it).slice(0, Math.min(end, 40))}.`),
  fc.constantFrom("%", "\\", "\\u00", "%4", "\n", "Authorization: Basic ", "?q="),
);

test.each(Object.entries(writers))(
  "one in %s is found, wherever the body is cut, with the byte that completes it",
  (_name, write) => {
    const bodies = fc.record({ before: noise, placeholder: some, after: noise, cuts: fc.array(fc.nat(2000)) });
    fc.assert(
      fc.property(bodies, ({ before, placeholder, after, cuts }) => {
        // An escape that has begun would swallow the beginning.
        const text = `${before} ${write(placeholder)}"${after}`;
        expect(findPlaceholders(text)).toContain(placeholder);
        const body = Buffer.from(text, "latin1");
        const places = [0, ...cuts.map((it) => it % body.length).toSorted((a, b) => a - b), body.length];
        const scanner = createScanner();
        expect(places.slice(1).flatMap((to, at) => scanner.push(body.subarray(places[at], to)))).toEqual(
          findPlaceholders(text),
        );
        const byBytes = createScanner();
        const found = Array.from(body, (it, at) => (byBytes.push(Buffer.of(it)).includes(placeholder) ? at : -1));
        const end = found.findIndex((it) => it !== -1);
        expect(findPlaceholders(text.slice(0, end))).not.toContain(placeholder);
        expect(findPlaceholders(text.slice(0, end + 1))).toContain(placeholder);
      }),
      { numRuns: 60 },
    );
  },
);

test("what only looks like one is none", () => {
  for (const text of [
    "glovebox-secret-<name>-<32 random characters>",
    "glovebox-secret-GITHUB_TOKEN-tooshort",
    `glovebox-secret-lower-${"x".repeat(32)}`,
    `glovebox-secret-${"X".repeat(65)}-${"x".repeat(32)}`,
    base64("glovebox-secret-GITHUB_TOKEN-tooshort"),
    "",
  ]) {
    expect(findPlaceholders(text)).toEqual([]);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
      expect(createScanner().push(Buffer.from(bytes))).toEqual([]);
    }),
  );
});

test("one is told once, and each of several", () => {
  const [first = "", second = ""] = placeholders.values();
  const scanner = createScanner();
  expect(scanner.push(Buffer.from(`${first} ${second}`))).toEqual([first, second]);
  expect(scanner.push(Buffer.from("more"))).toEqual([]);
  expect(scanner.push(Buffer.from(`${first}${first}`))).toEqual([first]);
});

/** Inputs on which a careless scanner is quadratic. */
test.each(["glovebox-secret-", base64("glovebox-secret-"), "glovebox-secret-A-", "%", "\\u00", "\r\n"])(
  "time is linear in the length of a run of %j",
  (unit) => {
    const scanner = createScanner();
    const chunk = Buffer.from(unit.repeat(65_536 / unit.length));
    const startedMs = performance.now();
    for (let i = 0; i < 16; i += 1) scanner.push(chunk);
    // Quadratic would be minutes here; linear is less than a second, whatever else the machine does.
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  },
);
