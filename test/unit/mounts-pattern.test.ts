import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { covers, parsePatterns } from "../../src/mounts/pattern.ts";

const repository = mkdtempSync(join(tmpdir(), "glovebox-pattern-"));
execFileSync("git", ["init", "-q", repository]);
afterAll(() => rmSync(repository, { recursive: true, force: true }));

const matches = (pattern: string, path: string, isDirectory = false) =>
  parsePatterns([pattern]).match(path.split("/"), isDirectory) === "yes";

test.each<[pattern: string, yes: string[], no: string[]]>([
  ["*.log", ["a.log", "d/a.log", ".log"], ["a.logs", "log"]],
  ["/a", ["a"], ["d/a"]],
  ["d/a", ["d/a"], ["e/d/a"]],
  ["**/a", ["a", "d/a", "d/e/a"], ["d/b"]],
  ["d/**", ["d/a", "d/e/f"], ["d", "e/d/a"]],
  ["d/**/a", ["d/a", "d/e/a", "d/e/f/a"], ["a", "d/b"]],
  ["a?c", ["abc", "aüc"], ["ac", "a/c"]],
  ["[a-c]x", ["ax", "cx"], ["dx"]],
  ["[!a-c]x", ["dx"], ["ax"]],
  ["[]x", [], ["]x", "[]x"]],
  ["[]]x", ["]x"], ["x"]],
  ["a\\*", ["a*"], ["ab"]],
  ["\\!a", ["!a"], ["a"]],
  ["a\\ ", ["a "], ["a"]],
  ["a  ", ["a"], ["a  "]],
  ["[[:digit:]]", ["1"], ["a"]],
  ["a\\", [], ["a", "a\\"]],
  ["# no", [], ["# no"]],
])("%s", (pattern, yes, no) => {
  for (const path of yes) expect([path, matches(pattern, path)]).toEqual([path, true]);
  for (const path of no) expect([path, matches(pattern, path)]).toEqual([path, false]);
});

test("the last pattern that matches decides, and a slash at the end means directories", () => {
  const patterns = parsePatterns(["*.a", "!keep.a", "build/"]);
  expect(patterns.match(["x.a"], false)).toBe("yes");
  expect(patterns.match(["keep.a"], false)).toBe("no");
  expect(patterns.match(["build"], false)).toBeUndefined();
  expect(patterns.match(["build"], true)).toBe("yes");
  expect(covers(patterns, ["build", "deep", "file"], false)).toBe(true);
});

// Beside other characters `**` means little, and git takes it in ways of its own.
const piece = fc.constantFrom("a", "b", "ab", "*", "?", "[ab]", "[!a]", "\\a", ".", "-");
const pattern = fc
  .tuple(
    fc.constantFrom("", "!", "/"),
    fc.array(
      fc.oneof(
        fc.array(piece, { minLength: 1, maxLength: 4 }).map((it) => it.join("").replaceAll(/\*+/g, "*")),
        fc.constant("**"),
      ),
      {
        minLength: 1,
        maxLength: 4,
      },
    ),
    fc.constantFrom("", "/"),
  )
  .map(([before, parts, after]) => before + parts.join("/") + after);
const name = fc.array(fc.constantFrom("a", "b", ".", "-"), { minLength: 1, maxLength: 4 }).map((it) => it.join(""));
const path = fc.array(
  name.filter((it) => !/^\.+$/.test(it)),
  { minLength: 1, maxLength: 4 },
);

/** Which of the paths git would ignore; of none does anything exist, so that all are files. */
function ignoredByGit(lines: readonly string[], paths: readonly string[]): Set<string> {
  writeFileSync(join(repository, ".gitignore"), `${lines.join("\n")}\n`);
  const args = ["-C", repository, "check-ignore", "--no-index", "-z", "--stdin"];
  try {
    const said = execFileSync("git", args, { input: paths.map((it) => `${it}\0`).join("") });
    return new Set(said.toString().split("\0"));
  } catch (error) {
    if (error instanceof Error && "status" in error && error.status === 1) return new Set();
    throw error;
  }
}

test("whatever the patterns, the files that they ignore are those that git ignores", () => {
  mkdirSync(repository, { recursive: true });
  const given = fc.tuple(
    fc.array(pattern, { minLength: 1, maxLength: 4 }),
    fc.array(path, { minLength: 40, maxLength: 40 }),
  );
  fc.assert(
    fc.property(given, ([lines, paths]) => {
      const patterns = parsePatterns(lines);
      const byGit = ignoredByGit(
        lines,
        paths.map((it) => it.join("/")),
      );
      for (const names of paths) {
        // Of a directory that is ignored, nothing is asked any more.
        const last = names.findIndex(
          (_, at) => patterns.match(names.slice(0, at + 1), at < names.length - 1) === "yes",
        );
        expect([lines, names.join("/"), last !== -1]).toEqual([lines, names.join("/"), byGit.has(names.join("/"))]);
      }
    }),
    { numRuns: 300 },
  );
});

test("no pattern takes long: every one that makes a backtracking matcher hang", () => {
  const evil = [`${"*a".repeat(100)}b`, `${"**/a/".repeat(80)}b`, `${"[ab]*".repeat(60)}c`];
  const patterns = parsePatterns(evil);
  const startedMs = performance.now();
  expect(patterns.match(["a".repeat(255)], false)).toBeUndefined();
  expect(
    patterns.match(
      Array.from({ length: 250 }, () => "a"),
      false,
    ),
  ).toBeUndefined();
  expect(performance.now() - startedMs).toBeLessThan(5_000);
});
