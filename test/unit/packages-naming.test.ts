import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { popularNames } from "../../src/packages/popular.ts";
import { ECOSYSTEMS, type EcosystemName } from "../../src/policy/ecosystems/ecosystem.ts";
import { escapeGo, unescapeGo } from "../../src/policy/ecosystems/go.ts";
import { namingOf, purlOf } from "../../src/policy/ecosystems/naming.ts";
import { similarTo } from "../../src/policy/ecosystems/similar.ts";
import { purlAncestors } from "../../src/policy/package.ts";

/** Control characters and spaces, quotes, what a shell reads (but `!` and `~`, which versions have), what leaves a path or a URL. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they must not get through
const UNSAFE = /[\u0000-\u0020\u007f-\uffff"'`\\$&|;<>(){}[\]*?#%=,^]|\.\.|:\/\/|^-/;

const NAMES: Readonly<Record<EcosystemName, readonly string[]>> = {
  pip: ["requests", "typing-extensions", "a", "3to2"],
  npm: ["lodash", "@types/node", "JSONStream", "lodash.merge", "3d-core", "socket.io"],
  apt: ["curl", "g++", "libstdc++6", "0ad", "python3.11"],
  cargo: ["serde", "serde_json", "Inflector", "wasm-bindgen"],
  go: [
    "github.com/google/uuid",
    "golang.org/x/mod",
    "gopkg.in/yaml.v3",
    "github.com/Azure/go-autorest/v2",
    "k8s.io/api",
  ],
  maven: ["junit:junit", "org.apache.commons:commons-lang3", "com.google.guava:guava"],
};

const VERSIONS: Readonly<Record<EcosystemName, readonly string[]>> = {
  pip: ["1.0", "2.31.0", "1!2.0rc1.post2.dev3", "1.0+cu118", "2024.1"],
  npm: ["1.0.0", "4.17.21", "1.0.0-rc.1"],
  apt: ["1.0", "1:12.2.0-14~deb12u1", "2.36-9+deb12u7", "0~20200101-1"],
  cargo: ["1.0.0", "0.11.0+wasi-snapshot-preview1", "1.0.0-beta.2"],
  go: ["v1.6.0", "v0.0.0-20161208181325-20d25e280405", "v68.0.0+incompatible", "v1.0.0-rc.1"],
  maven: ["4.13.2", "32.1.3-jre", "1.0-alpha-1", "r09", "2.0.0.RELEASE"],
};

/** What some tool takes in the place of a name or of a version, and does something else with. */
const FOREIGN = [
  "",
  " ",
  "-",
  "--index-url",
  "-e",
  "-r",
  "https://example.org/x.tgz",
  "http://x",
  "git+https://example.org/x",
  "git@example.org:x/y.git",
  "file:..",
  "file:/etc",
  "./x",
  "../x",
  "..",
  ".",
  "/etc/passwd",
  "~/x",
  "C:\\x",
  "a b",
  "a\nb",
  "a\u0000",
  "a;b",
  "$(a)",
  "`a`",
  "a'b",
  'a"b',
  "a|b",
  "a&b",
  "a\\b",
  "npm:lodash@1",
  "lodash@1.0.0",
  "requests==1.0",
  "requests[socks]",
  "requests @ file:x",
  "curl=1.0",
  "curl/stable",
  "*",
  "a*",
  "é",
  "\u202ea",
  "constructor\u0000",
];

describe.each(ECOSYSTEMS)("names and versions of %s", (ecosystem) => {
  const naming = namingOf(ecosystem);

  it("reads those that there are, in their one spelling", () => {
    expect(NAMES[ecosystem].map(naming.readName)).toEqual(NAMES[ecosystem]);
    expect(VERSIONS[ecosystem].map(naming.readVersion)).toEqual(VERSIONS[ecosystem]);
  });

  it("reads nothing else: options, URLs, git references, paths, tags, ranges", () => {
    expect(FOREIGN.filter((text) => naming.readName(text) !== undefined)).toEqual([]);
    const notVersions = [
      ...FOREIGN,
      "latest",
      "next",
      "LATEST",
      "RELEASE",
      "^1.0.0",
      "~1.0.0",
      ">=1",
      "<2",
      "[1.0,2.0)",
    ];
    const ranges = ["x", "1.*", "=1.0.0", "==1.0", "1.0 - 2.0", "1.0.0 || 2.0.0", "user/repo", "v"];
    expect([...notVersions, ...ranges].filter((text) => naming.readVersion(text) !== undefined)).toEqual([]);
  });

  it("reads `user/repo` only where that is how a name is written", () => {
    expect(naming.readName("user/repo")).toBeUndefined();
    expect(naming.readName("example.org/repo")).toBe(ecosystem === "go" ? "example.org/repo" : undefined);
  });

  it("gives what is safe as an argument, in a path and in a URL, and reads that again as the same", () => {
    const near = fc.stringMatching(/^[@a-zA-Z0-9][a-zA-Z0-9@/:.+~!_-]{0,20}$/);
    const mutated = fc
      .tuple(
        fc.constantFrom(...NAMES[ecosystem], ...VERSIONS[ecosystem]),
        fc.string({ unit: "binary", maxLength: 3 }),
        fc.nat(30),
      )
      .map(([text, extra, at]) => text.slice(0, at) + extra + text.slice(at));
    fc.assert(
      fc.property(fc.oneof(near, mutated, fc.string({ unit: "binary" })), (text) => {
        for (const read of [naming.readName, naming.readVersion]) {
          const once = read(text);
          if (once === undefined) continue;
          expect(once).not.toMatch(UNSAFE);
          expect(once).not.toBe("");
          expect(read(once)).toBe(once);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it("reads texts of any length, and soon", () => {
    const units = ["1", "1.", "1-", "a", "a-", "[", ">=1,", "1!", "+a.", "(,1],", "~", "a/", " ", "@", "^ "];
    const texts = units.flatMap((it) => [100, 120, 250, 100_000].map((chars) => `1.0${it.repeat(chars / it.length)}`));
    for (const text of texts) {
      const once = [naming.readName(text), naming.readVersion(text)].filter((it) => it !== undefined);
      expect(once.every((it) => it.length <= 512)).toBe(true);
      for (const it of VERSIONS[ecosystem]) naming.satisfies(it, text);
    }
  });

  it("orders versions totally", () => {
    const version = versionOf(ecosystem);
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        const order = (x: string, y: string) => Math.sign(naming.compare(x, y));
        expect(order(a, a)).toBe(0);
        expect(order(a, b)).toBe(0 - order(b, a) || 0);
        if (order(a, b) <= 0 && order(b, c) <= 0) expect(order(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it("spells a purl that lies in its package, what that stands below, and its ecosystem", () => {
    for (const name of NAMES[ecosystem]) {
      for (const version of VERSIONS[ecosystem]) {
        const ancestors = purlAncestors(purlOf(naming, name, version));
        expect(ancestors[0]).toBe(purlOf(naming, name));
        expect(ancestors.at(-1)).toBe(`pkg:${naming.purlType.split("/")[0]}`);
        expect(ancestors).toHaveLength(naming.namespace(name).length + naming.purlType.split("/").length + 1);
      }
    }
  });
});

describe("what ecosystems have of their own", () => {
  it("npm: upper case is another package, and build metadata no version", () => {
    const npm = namingOf("npm");
    expect(purlOf(npm, "JSONStream", "1.3.5")).toBe("pkg:npm/JSONStream@1.3.5");
    expect(purlOf(npm, "@Acme/X", "1.0.0")).toBe("pkg:npm/%40Acme/X@1.0.0");
    const refused = [
      ".bin",
      "_x",
      "node_modules",
      "favicon.ico",
      "a~b",
      "a!",
      "(a)",
      "@/x",
      "@a",
      "@a/",
      "@a/b/c",
      "@-a/x",
      "a".repeat(215),
    ];
    expect(refused.filter((it) => npm.readName(it) !== undefined)).toEqual([]);
    expect(["1.0.0+a", "v1.0.0", "1.0", "01.0.0", "1.0.9999999999999999999"].map(npm.readVersion)).toEqual(
      Array(5).fill(undefined),
    );
    expect(npm.satisfies("4.18.0-beta.1", "^4.17")).toBe(true);
    expect(npm.isRange("latest")).toBe(false);
  });

  it("pip: one spelling of a name and of a version, and 1.0 is 1.0.0", () => {
    const pip = namingOf("pip");
    expect(["Foo._-Bar", "foo.bar"].map(pip.readName)).toEqual(["foo-bar", "foo-bar"]);
    expect(["v1.0-RC.1", "1.0-1", "1.0.ALPHA", "1.0+Ubuntu_01", "1.0+1e5"].map(pip.readVersion)).toEqual([
      "1.0rc1",
      "1.0.post1",
      "1.0a0",
      "1.0+ubuntu.1",
      "1.0+1e5",
    ]);
    expect(pip.compare("1.0", "1.0.0")).toBe(0);
    expect(["===1.0", "==1.*.*", "~=1", ">=1.0+a", "1.0", ""].filter(pip.isRange)).toEqual([]);
  });

  it("apt: no name that apt would remove instead, no epoch of 0", () => {
    const apt = namingOf("apt");
    expect(["curl-", "a", "Curl", "curl:amd64", "curl_1", "a..b"].map(apt.readName)).toEqual(Array(6).fill(undefined));
    expect(["0:1.0", "1:", "1.0-", "a1", "1_0"].map(apt.readVersion)).toEqual(Array(5).fill(undefined));
    expect(apt.isPrerelease("1.0~rc1-1")).toBe(true);
    expect(apt.isPrerelease("1.0-1~deb12u1")).toBe(false);
    expect(apt.satisfies("1.2-1", ">= 1.2, << 2")).toBe(true);
  });

  it("cargo: a bare version is a range like `^`, and lies apart from a version", () => {
    const cargo = namingOf("cargo");
    expect(cargo.satisfies("1.9.0", "1.2")).toBe(true);
    expect(cargo.satisfies("0.3.0", "0.2")).toBe(false);
    expect(cargo.satisfies("1.4.0", ">=1.2, <1.5")).toBe(true);
    expect(["1abc", "_a", "a".repeat(65), "a.b"].map(cargo.readName)).toEqual(Array(4).fill(undefined));
  });

  it("go: paths and versions are escaped for the proxy, and back", () => {
    const go = namingOf("go");
    expect(escapeGo("github.com/Azure/x")).toBe("github.com/!azure/x");
    expect(unescapeGo("github.com/!azure/x")).toBe("github.com/Azure/x");
    expect(["github.com/Azure", "a!", "a!!b", "a!1"].map(unescapeGo)).toEqual(Array(4).fill(undefined));
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z./-]*$/), (text) => unescapeGo(escapeGo(text)) === text));
    expect(["v1.0", "1.0.0", "v1.0.0+meta", "V1.0.0"].map(go.readVersion)).toEqual(Array(4).fill(undefined));
    expect(["v1.2.9", "v1.20.0"].map((it) => go.satisfies(it, "v1.2"))).toEqual([true, false]);
    expect(go.isRange("latest") || go.isRange(">=v1")).toBe(false);
  });

  it("maven: nothing that changes under its name; intervals and unions of them", () => {
    const maven = namingOf("maven");
    expect(["1.0-SNAPSHOT", "1.0-20240101.123456-1", "LATEST", "RELEASE"].map(maven.readVersion)).toEqual(
      Array(4).fill(undefined),
    );
    expect(["junit", "a:b:c", "a:.b", "a.:b", "a..b:c"].map(maven.readName)).toEqual(Array(5).fill(undefined));
    const inside = (version: string, range: string) => maven.isRange(range) && maven.satisfies(version, range);
    expect(inside("1.5", "[1.0,2.0)")).toBe(true);
    expect(inside("2.0", "[1.0,2.0)")).toBe(false);
    expect(inside("3.5", "[1,2),[3,4)")).toBe(true);
    expect(inside("1.0", "[1.0]")).toBe(true);
    expect(["1.0", "[1", "[2,1]", "(1.0)", "[1,2),", "[1,2)[3,4)", "[a,b]", ""].filter(maven.isRange)).toEqual([]);
    expect(["1.0-rc1", "1.0-M2", "2.0.0.Beta3", "1.0-alpha"].map(maven.isPrerelease)).toEqual(Array(4).fill(true));
    expect(["1.0", "2.0.0.RELEASE", "32.1-jre", "1.0.Final"].map(maven.isPrerelease)).toEqual(Array(4).fill(false));
  });

  it("names that are one edit from a popular one", () => {
    const popular = ["requests", "lodash", "six"];
    const near = ["request", "requestss", "requezts", "reqeusts", "requests", "requets2", "sux"];
    expect(near.map((it) => similarTo(it, popular))).toEqual([
      ["requests"],
      ["requests"],
      ["requests"],
      ["requests"],
      [],
      [],
      [],
    ]);
  });
});

/** Versions near each other, as the ecosystem reads them. */
function versionOf(ecosystem: EcosystemName): fc.Arbitrary<string> {
  const naming = namingOf(ecosystem);
  const number = fc.nat(3).map(String);
  const core = fc.array(number, { minLength: 1, maxLength: 4 }).map((it) => it.join("."));
  const tail = fc.stringMatching(/^(?:[-.+~]?(?:a|b|rc|alpha|sp|final|post|dev|x|0|1|10)){0,4}$/);
  const semantic = fc.tuple(number, number, number).map((it) => it.join("."));
  const body = ecosystem === "go" ? semantic.map((it) => `v${it}`) : fc.oneof(core, semantic);
  return fc
    .tuple(body, tail)
    .map((it) => it.join(""))
    .map(naming.readVersion)
    .filter((it) => it !== undefined);
}

test.each(ECOSYSTEMS)("popular names of %s are names, in their one spelling", async (ecosystem) => {
  const names = await popularNames(ecosystem);
  expect(names.filter((it) => namingOf(ecosystem).readName(it) !== it)).toEqual([]);
});
