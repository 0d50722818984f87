import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeGo, goNaming } from "../../src/policy/ecosystems/go.ts";
import { namingOf } from "../../src/policy/ecosystems/naming.ts";

/** Every name and version is read and ordered as the ecosystem's own program does; what that takes and we don't is named. */

const PAIRS = 400;
const JAVA = "/usr/share/maven/lib/*";

function has(program: string, ...args: string[]): boolean {
  return spawnSync(program, args).status === 0;
}

function ask(program: string, args: readonly string[], input: string): string[] {
  return execFileSync(program, args, { input, encoding: "utf8", maxBuffer: 1 << 24 })
    .trimEnd()
    .split("\n");
}

function sample(arbitrary: fc.Arbitrary<string>, count: number): string[] {
  return fc.sample(arbitrary, count).filter((it) => it !== "");
}

function pairs(texts: readonly string[]): [string, string][] {
  return texts.slice(1).map((it, index) => [texts[index] ?? "", it]);
}

function labelled(labels: readonly string[], answers: readonly string[]): string[] {
  return answers.map((it, index) => `${labels[index]}: ${it}`);
}

const PACKAGING = "from pip._vendor.packaging";

describe.skipIf(!has("python3", "-c", `${PACKAGING} import version`))("pip: python's packaging", () => {
  const text = fc.stringMatching(
    /^v?([01]!)?[0-9](\.(0|1|10)){0,3}([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?[0-2]?)?(-[0-2]|[-_.]?(post|rev|r)[-_.]?[0-2]?)?([-_.]?dev[-_.]?[0-2]?)?(\+(abc|[0-9a-c]{1,3})([-_.](x|01|1e5)){0,2})?$/,
  );
  const python = (body: string, lines: readonly string[]) =>
    ask(
      "python3",
      ["-c", `import sys, json\n${PACKAGING} import version as v, specifiers as s, utils as u\n${body}`],
      lines.join("\n"),
    );
  const pip = namingOf("pip");

  test("versions in their normal form", () => {
    const texts = sample(text, PAIRS);
    const theirs = python("for l in sys.stdin.read().split('\\n'): print(v.Version(l))", texts);
    expect(texts.map(pip.readVersion)).toEqual(theirs);
  });

  test("what is a version at all", () => {
    const texts = sample(fc.stringMatching(/^[0-9a-cv.!+rpost_-]{1,8}$/), PAIRS);
    const body =
      "for l in sys.stdin.read().split('\\n'):\n try: print(v.Version(l))\n except v.InvalidVersion: print('none')";
    expect(texts.map((it) => pip.readVersion(it) ?? "none")).toEqual(python(body, texts));
  });

  test("their order, and whether they are pre-releases", () => {
    const cases = pairs(sample(text, PAIRS));
    const body =
      "for l in sys.stdin.read().split('\\n'):\n a, b = map(v.Version, l.split())\n print((a > b) - (a < b), int(a.is_prerelease))";
    const ours = cases.map(([a, b]) => `${Math.sign(pip.compare(a, b)) || 0} ${Number(pip.isPrerelease(a))}`);
    expect(ours).toEqual(
      python(
        body,
        cases.map((it) => it.join(" ")),
      ),
    );
  });

  test("which versions lie in a specifier", () => {
    const tail = /((a|rc)[01])?(\.post[01])?(\.dev[01])?(\+(a|1))?/.source;
    const bound = fc.stringMatching(new RegExp(`^(1!)?[01](\\.[01]){0,2}${tail}(\\.\\*)?$`));
    // An old packaging gets `==1.0.*` of `1a0` wrong.
    const whole = fc.stringMatching(new RegExp(`^(1!)?[01]\\.[01]\\.[01]${tail}$`));
    const clause = fc.tuple(fc.constantFrom("~=", "==", "!=", "<=", ">=", "<", ">"), bound).map((it) => it.join(""));
    const range = fc.array(clause, { minLength: 1, maxLength: 2 }).map((it) => it.join(","));
    // One in five is a specifier: of these, twice as many as are asked for below.
    const ranges = sample(range, 4_000);
    const versions = sample(whole, 2_000);
    // An old packaging takes specifiers as legacy ones that are none any more.
    const cases = ranges
      .filter((it) => pip.isRange(it))
      .map((it, index) => `${it} ${versions[index % versions.length]}`);
    const body =
      "for l in sys.stdin.read().split('\\n'):\n r, a = l.split()\n print(str(s.SpecifierSet(r).contains(v.Version(a), prereleases=True)).lower())";
    const ours = cases.map((it) => {
      const [specifier = "", version = ""] = it.split(" ");
      return String(pip.satisfies(version, specifier));
    });
    expect(labelled(cases, ours)).toEqual(labelled(cases, python(body, cases)));
    expect(cases.length).toBeGreaterThan(PAIRS);
  });

  test("names", () => {
    // With a bias for the signs of the set most would begin or end with one of them, and be no names.
    const texts = sample(fc.noBias(fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/)), PAIRS);
    const theirs = python("for l in sys.stdin.read().split('\\n'): print(u.canonicalize_name(l))", texts);
    const named = texts
      .map((it, index) => [pip.readName(it), theirs[index]] as const)
      .filter(([it]) => it !== undefined);
    expect(named.map(([it]) => it)).toEqual(named.map(([, it]) => it));
    expect(named.length).toBeGreaterThan(PAIRS / 10);
  });
});

describe.skipIf(!has("dpkg", "--version"))("apt: dpkg", () => {
  const apt = namingOf("apt");
  const text = fc.stringMatching(/^([12]:)?[0-2]([.+~-]?(0|1|00|10|a|rc|Z|~)){0,4}$/);

  test("the order of versions", () => {
    const cases = pairs(
      sample(
        text.filter((it) => apt.readVersion(it) !== undefined),
        PAIRS,
      ),
    );
    const script =
      'while read -r a b; do for o in lt eq gt; do dpkg --compare-versions "$a" "$o" "$b" && echo "$o"; done; done; true';
    const theirs = ask("sh", ["-c", script], `${cases.map((it) => it.join(" ")).join("\n")}\n`);
    expect(cases.map(([a, b]) => ["lt", "eq", "gt"][1 + Math.sign(apt.compare(a, b))])).toEqual(theirs);
  });

  test("every version that is read is one of dpkg's", () => {
    const texts = sample(fc.stringMatching(/^[0-9a:.+~-]{1,6}$/), PAIRS).filter(
      (it) => apt.readVersion(it) !== undefined,
    );
    const script = 'while read -r a; do dpkg --validate-version "$a" && echo yes || echo "$a"; done';
    expect(new Set(ask("sh", ["-c", script], `${texts.join("\n")}\n`))).toEqual(new Set(["yes"]));
  });
});

describe.skipIf(!has("java", "-cp", JAVA, "org.apache.maven.artifact.versioning.ComparableVersion"))(
  "maven: ComparableVersion",
  () => {
    test("the order of versions", () => {
      const maven = namingOf("maven");
      const text = fc.stringMatching(
        /^(0|1|2|10)([.-]?(0|1|00|2|alpha|beta|a|b|m|milestone|rc|cr|final|ga|release|sp|x|foo|jre|Z|_1)){0,5}$/,
      );
      const versions = sample(
        text.filter((it) => maven.readVersion(it) !== undefined),
        3 * PAIRS,
      );
      const lines = ask(
        "java",
        ["-cp", JAVA, "org.apache.maven.artifact.versioning.ComparableVersion", ...versions],
        "",
      );
      const theirs = lines.filter((it) => /^ {3}/.test(it)).map((it) => it.trim());
      const sign = ["<", "==", ">"];
      expect(pairs(versions).map(([a, b]) => `${a} ${sign[1 + Math.sign(maven.compare(a, b))]} ${b}`)).toEqual(theirs);
    });
  },
);

const GOROOT = has("go", "version") ? execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim() : "";
const MOD = join(GOROOT, "src/cmd/vendor/golang.org/x/mod");

const GO_MAIN = `package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		switch words[0] {
		case "path":
			escaped, _ := module.EscapePath(words[1])
			fmt.Println(module.CheckPath(words[1]) == nil, escaped)
		case "version":
			fmt.Println(semver.IsValid(words[1]) && module.CanonicalVersion(words[1]) == words[1])
		case "order":
			fmt.Println(semver.Compare(words[1], words[2]))
		}
	}
}
`;

const withoutMod = GOROOT === "" || !existsSync(MOD);
describe.skipIf(withoutMod)(`go: golang.org/x/mod${withoutMod ? " (this computer has no Go)" : ""}`, () => {
  test("paths, versions, their order, and how they are escaped", async () => {
    const folder = await mkdtemp(join(tmpdir(), "glovebox-go-"));
    try {
      await cp(MOD, folder, { recursive: true });
      await writeFile(join(folder, "go.mod"), "module golang.org/x/mod\n\ngo 1.21\n");
      await cp(MOD, folder, { recursive: true });
      await writeFile(join(folder, "main.go"), GO_MAIN);
      const element = fc.stringMatching(
        /^([A-Za-z0-9._~-]{1,4}|v[0-3]|v1\.2|x\.v[0-2]|x\.v2-unstable|con|aux\.x|a~1|nul)$/,
      );
      const host = fc.constantFrom("a.b", "example.com", "gopkg.in", "x", "A.b", "-a.b", ".a", "a_.b", "github.com");
      const path = fc.tuple(host, fc.array(element, { maxLength: 3 })).map(([it, rest]) => [it, ...rest].join("/"));
      const paths = sample(path, 2_000).filter((it) => !it.includes(".."));
      const version = fc.stringMatching(
        /^v?[0-2](\.(0|1|01|10)){0,3}(-(0|a|rc\.1|01|0\.20240101000000-abcdef012345)(\.[0-2])?)?(\+(incompatible|meta))?$/,
      );
      const versions = sample(version, 4_000);
      const ordered = pairs(versions.filter((it) => goNaming.readVersion(it) !== undefined));
      const lines = [
        ...paths.map((it) => `path ${it}`),
        ...versions.map((it) => `version ${it}`),
        ...ordered.map((it) => `order ${it.join(" ")}`),
      ];
      const env = { ...process.env, GOFLAGS: "-mod=mod", GOWORK: "off", GOTOOLCHAIN: "local" };
      const program = join(folder, "ask");
      execFileSync("go", ["build", "-o", program, "."], { cwd: folder, env });
      const theirs = ask(program, [], `${lines.join("\n")}\n`);
      const ours = [
        ...paths.map((it) => (goNaming.readName(it) === undefined ? "false " : `true ${escapeGo(it)}`)),
        ...versions.map((it) => String(goNaming.readVersion(it) !== undefined)),
        ...ordered.map(([a, b]) => String(Math.sign(goNaming.compare(a, b)) || 0)),
      ];
      expect(labelled(lines, ours)).toEqual(labelled(lines, theirs));
      expect(ordered.length).toBeGreaterThan(50);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
